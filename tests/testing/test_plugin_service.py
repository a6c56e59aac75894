"""`PluginService`: the real service, as a plugin's author sees it."""

from collections.abc import AsyncIterator, Iterator
from datetime import timedelta
from typing import Any

import pytest
from pydantic import BaseModel
from pymongo import MongoClient

from datalayer_stripe import Context, Event, LifespanContext, Plugin, Reject, Retry
from datalayer_stripe.errors import KitError, PluginError
from datalayer_stripe.settings import SettingsError
from datalayer_stripe.testing import PluginService, recorded_event
from datalayer_stripe.testing.clock import BEGINNING
from tests.testing import plugins

PAID = recorded_event("payment_intent.succeeded")
ACCOUNT = PAID["data"]["object"]["metadata"]["account_uid"]


class Moody:
    """A plugin that ends its runs as it is told."""

    def __init__(self, *, deferred: bool = False) -> None:
        self.raises: list[Exception] = []
        self.plugin = plugin = Plugin("moody")

        @plugin.on(PAID["type"], deferred=deferred)
        async def run(event: Event, ctx: Context) -> None:
            ctx.metrics.counter("runs", "Runs.", ["currency"]).labels("usd").inc()
            if self.raises:
                raise self.raises.pop(0)
            ctx.collection.insert_one({"_id": event.id, "at": ctx.now})


@pytest.fixture
def moody() -> Moody:
    return Moody()


@pytest.fixture
def service(moody: Moody) -> Iterator[PluginService]:
    with PluginService(moody.plugin) as service:
        yield service


def test_an_event_is_delivered_and_kept_once(service: PluginService, moody: Moody) -> None:
    first, second = service.deliver(PAID), service.deliver(PAID)
    assert (first.status, first.outcome, first.outcomes) == (200, "processed", {"moody": "done"})
    assert (second.status, second.outcome) == (200, "duplicate")
    assert service.documents(moody.plugin) == [{"_id": PAID["id"], "at": service.now}]
    assert service.metric(moody.plugin, "runs", currency="usd") == 1
    assert service.metric(moody.plugin, "never") == 0


def test_a_failure_and_a_rejection_are_answers(service: PluginService, moody: Moody) -> None:
    moody.raises += [Retry("later"), Reject("never")]
    failed = service.deliver(PAID)
    assert (failed.status, failed.outcome) == (503, "delivery_failed")
    assert failed.outcomes == {"moody": "failed"}
    assert service.handled(PAID)["moody"].reason == "later"
    assert service.deliver(PAID).outcome == "rejected"
    standing = service.handled(PAID)["moody"]
    assert (standing.status, standing.reason, standing.attempts) == ("rejected", "never", 2)


def test_a_signature_that_is_none_is_refused(service: PluginService, moody: Moody) -> None:
    refused = service.deliver(PAID, sign=False)
    assert (refused.status, refused.outcome, refused.outcomes) == (400, "invalid_signature", {})
    assert service.documents(moody.plugin) == []


def test_what_is_no_event_is_not_delivered(service: PluginService) -> None:
    with pytest.raises(KitError, match="what is delivered is no Stripe event: id: Field required"):
        service.deliver({"type": "invoice.paid"})


def test_the_service_runs_the_built_in_plugins_when_asked() -> None:
    with PluginService(built_in=True) as service:
        assert service.deliver(PAID).outcomes == {"top-up-credits": "done"}
        assert service.balance(ACCOUNT) == 50
        assert [row["credits"] for row in service.ledger(ACCOUNT)] == [50]
        assert service.balance("nobody") == 0


def test_recorded_objects_are_there_at_stripe() -> None:
    plugin = Plugin("follower")

    @plugin.on("invoice.payment_failed")
    async def follow(event: Event, ctx: Context) -> None:
        await ctx.snapshots.refresh_from(event.object)
        intents = await ctx.stripe.retrieve_payment_intent("pi_1xNntgCz7hWRKLEplXoFlShs")
        ctx.collection.insert_one({"_id": intents["status"]})

    with PluginService(plugin) as service:
        service.deliver(PAID)  # is nobody's here, and is there at Stripe
        assert service.deliver(recorded_event("invoice.payment_failed")).outcome == "processed"
        assert service.documents(plugin) == [{"_id": "succeeded"}]


def test_an_older_event_that_comes_later_does_not_turn_stripe_back() -> None:
    plugin = plugins.counting()
    with PluginService(plugin) as service:
        service.deliver(recorded_event("customer.subscription.updated.past-due"))
        created = recorded_event("customer.subscription.created")
        service.deliver(created)
        assert service.sandbox.get(created["data"]["object"]["id"])["status"] == "past_due"


def test_what_happens_at_the_local_stripe_is_delivered() -> None:
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


def test_events_that_plugins_make_at_stripe_come_back_to_them() -> None:
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


def test_deferred_work_runs_to_its_end_and_nobody_waits() -> None:
    moody = Moody(deferred=True)
    moody.raises += [Retry("soon")] * 6
    with PluginService(moody.plugin) as service:
        assert service.deliver(PAID).outcome == "deferred"
        assert service.documents(moody.plugin) == []
        assert service.run_deferred() == 1
        assert service.handled(PAID)["moody"].attempts == 7
        assert service.now - BEGINNING > timedelta(minutes=4)
        assert service.run_deferred() == 0


def test_deferred_work_that_never_succeeds_is_given_up() -> None:
    moody = Moody(deferred=True)
    moody.raises += [Retry("soon")] * 100
    with PluginService(moody.plugin) as service:
        service.deliver(PAID)
        assert service.run_deferred() == 1
        standing = service.handled(PAID)["moody"]
        assert standing.status == "rejected"
        assert standing.reason is not None
        assert standing.reason.startswith("given up after 80 attempts")


def test_lifespan_runs_in_its_event_loop() -> None:
    plugin = Plugin("hooked")
    seen: list[str] = []

    @plugin.lifespan
    async def run(lifespan: LifespanContext) -> AsyncIterator[None]:
        seen.append("start")
        yield
        seen.append("stop")

    async def here() -> str:
        return "here"

    with PluginService(plugin) as service:
        seen.append(service.run(here()))
    assert seen == ["start", "here", "stop"]


def test_a_plugin_that_cannot_start_is_told() -> None:
    plugin = Plugin("lame")

    @plugin.lifespan
    async def start(lifespan: LifespanContext) -> AsyncIterator[None]:
        raise OSError("nobody listens")
        yield

    with pytest.raises(PluginError, match="Plugin lame"), PluginService(plugin):
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


def kept(settings: Any) -> dict[str, Any]:
    plugin = chat()
    with PluginService(plugin, settings=settings) as service:
        service.deliver(PAID)
        [row] = service.documents(plugin)
        del row["_id"]
        return row


def test_settings_are_fields_or_the_model_or_texts_as_in_a_variable() -> None:
    expected = {"room": "sales", "people": ["ada", "ben"], "port": 7000}
    assert kept({"room": "sales", "people": ["ada", "ben"], "port": 7000}) == expected
    assert kept({"room": "sales", "people": "ada, ben", "port": "7000"}) == expected
    assert kept(Chat(room="sales", people=["ada", "ben"], port=7000)) == expected


def test_settings_of_several_plugins_are_by_name() -> None:
    one, other = chat("one"), chat("other")
    settings = {"one": {"room": "a"}, "other": Chat(room="b")}
    with PluginService(one, other, plugins.counting(), settings=settings) as service:
        service.deliver(PAID)
        assert [service.documents(each)[0]["room"] for each in (one, other)] == ["a", "b"]


def test_wrong_settings_are_told() -> None:
    with pytest.raises(SettingsError, match=r"_PLUGIN_CHAT_PORT: Input should be .*integer"):
        PluginService(chat(), settings={"room": "a", "port": "x"})
    with pytest.raises(KitError, match=r"chat has no field 'rom'. Did you mean room\?"):
        PluginService(chat(), settings={"rom": "a"})
    with pytest.raises(KitError, match=r"by the plugin's name: \{'a': \{…\}, 'b': \{…\}\}"):
        PluginService(chat("a"), chat("b"), settings={"room": "a"})
    with pytest.raises(KitError, match="counting has no settings"):
        PluginService(plugins.counting(), settings={"room": "a"})
    with pytest.raises(KitError, match="a mapping of field → value, or a Chat, not a str"):
        PluginService(chat(), settings="room")  # type: ignore[arg-type]


# Its place


def test_a_service_that_is_not_open_says_so() -> None:
    with pytest.raises(KitError, match="is not open: write `with PluginService"):
        PluginService(plugins.counting()).deliver(PAID)


@pytest.mark.gen_test
async def test_in_an_async_test_it_says_what_to_write() -> None:
    with pytest.raises(KitError, match="write a plain `def test`"):
        PluginService(plugins.counting()).__enter__()


def test_several_services_live_side_by_side() -> None:
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
def test_on_a_mongod_it_has_a_database_of_its_own_and_drops_it(
    mongodb_url: str, moody: Moody
) -> None:
    with PluginService(moody.plugin, mongodb_url=mongodb_url) as service:
        service.deliver(PAID)
        assert service.deliver(PAID).outcome == "duplicate"
        assert [row["_id"] for row in service.documents(moody.plugin)] == [PAID["id"]]
        [own] = databases(mongodb_url)
        assert own not in mongodb_url
    assert databases(mongodb_url) == set()
