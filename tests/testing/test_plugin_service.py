"""`PluginService`: the real service in a plugin author's test."""

from collections.abc import AsyncIterator, Iterator
from datetime import timedelta
from typing import Any

import pytest
from pydantic import BaseModel
from pymongo import MongoClient

from datalayer_stripe import Context, Event, LifespanContext, Plugin, Reject, Retry
from datalayer_stripe.errors import KitError, PluginError, SettingsError
from datalayer_stripe.testing import PluginService, recorded_event
from datalayer_stripe.testing.clock import INITIAL_TIME
from tests.testing import plugins

PAID = recorded_event("payment_intent.succeeded")
ACCOUNT = PAID["data"]["object"]["metadata"]["account_uid"]


class Scripted:
    """A plugin whose runs raise the errors of a list, in their order."""

    def __init__(self, *, deferred: bool = False) -> None:
        self.raises: list[Exception] = []
        self.plugin = plugin = Plugin("scripted")

        @plugin.on(PAID["type"], deferred=deferred)
        async def run(event: Event, ctx: Context) -> None:
            ctx.metrics.counter("runs", "Runs.", ["currency"]).labels("usd").inc()
            if self.raises:
                raise self.raises.pop(0)
            ctx.collection.insert_one({"_id": event.id, "at": ctx.now})


@pytest.fixture
def scripted() -> Scripted:
    return Scripted()


@pytest.fixture
def service(scripted: Scripted) -> Iterator[PluginService]:
    with PluginService(scripted.plugin) as service:
        yield service


def test_event_delivered_twice_is_processed_once(
    service: PluginService, scripted: Scripted
) -> None:
    first, second = service.deliver(PAID), service.deliver(PAID)
    assert (first.status, first.outcome, first.outcomes) == (200, "processed", {"scripted": "done"})
    assert (second.status, second.outcome) == (200, "duplicate")
    assert service.documents(scripted.plugin) == [{"_id": PAID["id"], "at": service.now}]
    assert service.metric(scripted.plugin, "runs", currency="usd") == 1
    assert service.metric(scripted.plugin, "never") == 0


def test_failure_and_rejection_are_responses(service: PluginService, scripted: Scripted) -> None:
    scripted.raises += [Retry("later"), Reject("never")]
    failed = service.deliver(PAID)
    assert (failed.status, failed.outcome) == (503, "delivery_failed")
    assert failed.outcomes == {"scripted": "failed"}
    assert service.plugin_statuses(PAID)["scripted"].reason == "later"
    assert service.deliver(PAID).outcome == "rejected"
    status = service.plugin_statuses(PAID)["scripted"]
    assert (status.status, status.reason, status.attempts) == ("rejected", "never", 2)


def test_invalid_signature_is_refused(service: PluginService, scripted: Scripted) -> None:
    refused = service.deliver(PAID, sign=False)
    assert (refused.status, refused.outcome, refused.outcomes) == (400, "invalid_signature", {})
    assert service.documents(scripted.plugin) == []


def test_object_that_is_no_event_is_not_delivered(service: PluginService) -> None:
    with pytest.raises(
        KitError, match="the event to deliver is not a Stripe event: id: Field required"
    ):
        service.deliver({"type": "invoice.paid"})


def test_built_in_option_runs_built_in_plugins() -> None:
    with PluginService(built_in=True) as service:
        assert service.deliver(PAID).outcomes == {"top-up-credits": "done"}
        assert service.balance(ACCOUNT) == 50
        assert [row["credits"] for row in service.ledger(ACCOUNT)] == [50]
        assert service.balance("unknown") == 0


def test_delivery_creates_recorded_objects_at_local_stripe() -> None:
    plugin = Plugin("follower")

    @plugin.on("invoice.payment_failed")
    async def follow(event: Event, ctx: Context) -> None:
        await ctx.snapshots.refresh_from(event.object)
        intents = await ctx.stripe.retrieve_payment_intent("pi_1xNntgCz7hWRKLEplXoFlShs")
        ctx.collection.insert_one({"_id": intents["status"]})

    with PluginService(plugin) as service:
        service.deliver(PAID)  # no plugin runs on it, but its objects exist at Stripe afterwards
        assert service.deliver(recorded_event("invoice.payment_failed")).outcome == "processed"
        assert service.documents(plugin) == [{"_id": "succeeded"}]


def test_older_event_does_not_overwrite_newer_object_at_local_stripe() -> None:
    plugin = plugins.counting()
    with PluginService(plugin) as service:
        service.deliver(recorded_event("customer.subscription.updated.past-due"))
        created = recorded_event("customer.subscription.created")
        service.deliver(created)
        assert service.sandbox.get(created["data"]["object"]["id"])["status"] == "past_due"


def test_events_of_local_stripe_are_delivered() -> None:
    with PluginService(built_in=True) as service:
        paid = service.sandbox.buy_credits("alice", 220)
        subscription = service.sandbox.subscribe("alice")
        assert service.balance("alice") == 0
        assert {one.outcome for one in service.deliver_waiting()} == {"processed"}
        assert service.balance("alice") == 220
        assert service.deliver_waiting() == []
        service.advance(days=32)
        service.sandbox.refund(paid["id"])
        outcomes = [one.outcomes for one in service.deliver_waiting()]
        assert {"invoice-paid": "done"} in outcomes
        assert service.sandbox.get(subscription["id"])["status"] == "active"


def test_events_caused_by_plugins_are_delivered_to_them() -> None:
    plugin = Plugin("echo")

    @plugin.on("customer.updated", "customer.created")
    async def make(event: Event, ctx: Context) -> None:
        if event.type == "customer.updated":
            await plugins.make_customer(event, ctx, key=event.id)
        ctx.collection.insert_one({"_id": event.id, "type": event.type})

    with PluginService(plugin) as service:
        service.deliver(recorded_event("customer.updated"))
        [answer] = service.deliver_waiting()
        assert answer.outcome == "processed"
        kept = {row["type"] for row in service.documents(plugin)}
        assert kept == {"customer.created", "customer.updated"}


def test_deferred_job_is_retried_without_waiting() -> None:
    scripted = Scripted(deferred=True)
    scripted.raises += [Retry("soon")] * 6
    with PluginService(scripted.plugin) as service:
        assert service.deliver(PAID).outcome == "deferred"
        assert service.documents(scripted.plugin) == []
        assert service.run_deferred() == 1
        assert service.plugin_statuses(PAID)["scripted"].attempts == 7
        assert service.now - INITIAL_TIME > timedelta(minutes=4)
        assert service.run_deferred() == 0


def test_deferred_job_that_always_fails_is_rejected_after_80_attempts() -> None:
    scripted = Scripted(deferred=True)
    scripted.raises += [Retry("soon")] * 100
    with PluginService(scripted.plugin) as service:
        service.deliver(PAID)
        assert service.run_deferred() == 1
        status = service.plugin_statuses(PAID)["scripted"]
        assert status.status == "rejected"
        assert status.reason is not None
        assert status.reason.startswith("given up after 80 attempts")


def test_lifespan_runs_in_the_event_loop_of_the_service() -> None:
    plugin = Plugin("hooked")
    seen: list[str] = []

    @plugin.lifespan
    async def run(lifespan: LifespanContext) -> AsyncIterator[None]:
        seen.append("start")
        yield
        seen.append("stop")

    async def work() -> str:
        return "work"

    with PluginService(plugin) as service:
        seen.append(service.run(work()))
    assert seen == ["start", "work", "stop"]


def test_plugin_that_cannot_start_raises_error_with_its_name() -> None:
    plugin = Plugin("broken")

    @plugin.lifespan
    async def start(lifespan: LifespanContext) -> AsyncIterator[None]:
        raise OSError("connection refused")
        yield

    with pytest.raises(PluginError, match="Plugin broken"), PluginService(plugin):
        pass


# Settings


class Chat(BaseModel):
    room: str
    people: list[str] = []
    port: int = 6667


def chat(name: str = "chat") -> Plugin[Chat]:
    plugin = Plugin(name, settings=Chat)

    @plugin.on(PAID["type"])
    async def keep(event: Event, ctx: Context[Chat]) -> None:
        ctx.collection.insert_one({"_id": event.id, **ctx.settings.model_dump()})

    return plugin


def stored_settings(settings: Any) -> dict[str, Any]:
    plugin = chat()
    with PluginService(plugin, settings=settings) as service:
        service.deliver(PAID)
        [row] = service.documents(plugin)
        del row["_id"]
        return row


def test_settings_may_be_fields_or_model_or_text_as_in_a_variable() -> None:
    expected = {"room": "sales", "people": ["ada", "ben"], "port": 7000}
    assert stored_settings({"room": "sales", "people": ["ada", "ben"], "port": 7000}) == expected
    assert stored_settings({"room": "sales", "people": "ada, ben", "port": "7000"}) == expected
    assert stored_settings(Chat(room="sales", people=["ada", "ben"], port=7000)) == expected


def test_settings_of_several_plugins_are_passed_by_name() -> None:
    one, other = chat("one"), chat("other")
    settings = {"one": {"room": "a"}, "other": Chat(room="b")}
    with PluginService(one, other, plugins.counting(), settings=settings) as service:
        service.deliver(PAID)
        assert [service.documents(each)[0]["room"] for each in (one, other)] == ["a", "b"]


def test_wrong_settings_raise_error() -> None:
    with pytest.raises(SettingsError, match=r"_PLUGIN_CHAT_PORT: Input should be .*integer"):
        PluginService(chat(), settings={"room": "a", "port": "x"})
    with pytest.raises(KitError, match=r"chat has no field 'rom'. Did you mean room\?"):
        PluginService(chat(), settings={"rom": "a"})
    with pytest.raises(KitError, match=r"by the plugin's name: \{'a': \{…\}, 'b': \{…\}\}"):
        PluginService(chat("a"), chat("b"), settings={"room": "a"})
    with pytest.raises(KitError, match="counting has no settings"):
        PluginService(plugins.counting(), settings={"room": "a"})
    with pytest.raises(KitError, match="pass a mapping of field to value, or a Chat, not a str"):
        PluginService(chat(), settings="room")  # type: ignore[arg-type]


# Use of the context manager


def test_service_that_is_not_open_raises_error() -> None:
    with pytest.raises(KitError, match=r"is not open\. Write `with PluginService"):
        PluginService(plugins.counting()).deliver(PAID)


@pytest.mark.gen_test
async def test_async_test_is_refused() -> None:
    with pytest.raises(KitError, match="write a plain `def test`"):
        PluginService(plugins.counting()).__enter__()


def test_several_services_are_independent() -> None:
    one, other = plugins.counting(), plugins.counting()
    with PluginService(one) as first, PluginService(other) as second:
        first.deliver(PAID)
        assert second.documents(other) == []
        second.deliver(PAID)
        assert len(first.documents(one)) == len(second.documents(other)) == 1


def databases(url: str) -> set[str]:
    with MongoClient[dict[str, Any]](url) as client:
        return {name for name in client.list_database_names() if "datalayer_stripe" in name}


@pytest.mark.mongod
def test_service_on_mongod_creates_its_own_database_and_drops_it(
    mongodb_url: str, scripted: Scripted
) -> None:
    with PluginService(scripted.plugin, mongodb_url=mongodb_url) as service:
        service.deliver(PAID)
        assert service.deliver(PAID).outcome == "duplicate"
        assert [row["_id"] for row in service.documents(scripted.plugin)] == [PAID["id"]]
        [own] = databases(mongodb_url)
        assert own not in mongodb_url
    assert databases(mongodb_url) == set()
