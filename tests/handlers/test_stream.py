"""The events of the stream: balance and plan, their changes, and reconnecting."""

import json
from typing import Any

import pytest
from pymongo.read_concern import ReadConcern

from datalayer_stripe.composition import open_service
from datalayer_stripe.sandbox.delivery.webhooks import Webhooks
from datalayer_stripe.service import Service
from datalayer_stripe.settings import Settings
from datalayer_stripe.store import change_stream as changes
from datalayer_stripe.store.driver import aggregate
from tests.handlers.stream_reader import STREAM, open_stream
from tests.support.app import Api, Clock, changed, json_of, recorded
from tests.support.shop import OTHER_ACCOUNT, Buyer

PAID = recorded("payment_intent.succeeded")


@pytest.mark.gen_test
async def test_stream_starts_with_current_balance_and_plan(
    buyer: Buyer, webhooks: Webhooks
) -> None:
    await buyer.subscribe()
    async with open_stream(buyer.api) as reader:
        balance, plan = await reader.next(), await reader.next()
    assert (balance.name, balance.data) == ("balance", {"credits": 0, "last_update": None})
    assert (plan.name, plan.data) == ("plan", await buyer.plan())
    assert reader.headers["content-type"] == "text/event-stream; charset=UTF-8"
    assert reader.headers["cache-control"] == "no-store"
    assert reader.headers["access-control-allow-origin"] == "*"


@pytest.mark.parametrize("database", ["memory", pytest.param("mongod", marks=pytest.mark.mongod)])
@pytest.mark.gen_test
async def test_purchase_sends_one_balance_event(
    buyer: Buyer, webhooks: Webhooks, database: str
) -> None:
    await buyer.subscribe()
    async with open_stream(buyer.api) as reader:
        await reader.next()
        plan = await reader.next()
        await buyer.buy()
        sent = await reader.next()
        assert (sent.name, sent.data["credits"]) == ("balance", 50)
        assert sent.data["last_update"]
        assert sent.id.partition(".")[2] == plan.id.partition(".")[2], "the plan has not changed"
        await buyer.buy()
        assert (await reader.next()).data["credits"] == 100


@pytest.mark.mongod
@pytest.mark.gen_test
async def test_changes_of_plan_are_sent(buyer: Buyer, webhooks: Webhooks) -> None:
    async with open_stream(buyer.api) as reader:
        await reader.next()
        assert (await reader.next()).data["status"] == "none"
        await buyer.ask_to_subscribe()
        assert (await reader.next()).data["status"] == "incomplete"
        await buyer.subscribe()
        while (sent := await reader.next()).data["status"] != "active":
            pass
        assert (sent.name, sent.data["is_eligible"]) == ("plan", True)
        await buyer.api.post("/api/iam/v1/subscription/cancel")
        while not (sent := await reader.next()).data["cancel_at_period_end"]:
            pass


@pytest.mark.mongod
@pytest.mark.gen_test
async def test_commits_of_another_process_are_sent(
    buyer: Buyer, webhooks: Webhooks, settings: Settings, clock: Clock
) -> None:
    """A second service on the same database takes the place of the other process."""
    await buyer.subscribe()
    webhooks.hold()
    other = await open_service(settings, clock=clock)
    try:
        async with open_stream(buyer.api) as reader:
            await reader.wait_for_balance(0)
            await other.processor.replay(await _paid_event(buyer))
            await reader.wait_for_balance(50)
    finally:
        await other.close()


async def _paid_event(buyer: Buyer) -> str:
    started = json_of(await buyer.ask_to_buy())
    buyer.sandbox.confirm_payment(started["client_secret"])
    paid = [event for event in buyer.sandbox.events if event["type"] == "payment_intent.succeeded"]
    return str(paid[-1]["id"])


@pytest.mark.mongod
@pytest.mark.gen_test
async def test_stream_sends_only_events_of_own_account(api: Api) -> None:
    async with open_stream(api, OTHER_ACCOUNT) as other_reader, open_stream(api) as own_reader:
        for reader in (other_reader, own_reader):
            assert (await reader.next()).data["credits"] == 0
            await reader.next()
        await api.deliver(PAID)
        await own_reader.wait_for_balance(50)
        # The first event on the other stream is about its own payment.
        payment = json.loads(PAID)["data"]["object"]
        metadata = {**payment["metadata"], "account_uid": OTHER_ACCOUNT, "credits": "7"}
        theirs_paid = changed(PAID, metadata=metadata, customer="cus_2")
        await api.deliver(theirs_paid.replace(payment["id"].encode(), b"pi_2"))
        assert (await other_reader.next()).data["credits"] == 7
    assert (await api.get(STREAM, None)).code == 401


@pytest.mark.gen_test
async def test_reconnecting_client_receives_only_what_changed(
    buyer: Buyer, webhooks: Webhooks
) -> None:
    await buyer.subscribe()
    async with open_stream(buyer.api) as reader:
        await reader.next()
        seen = (await reader.next()).id
    async with open_stream(buyer.api, last_event_id=seen) as reader:
        await buyer.buy()
        sent = await reader.next()
        assert (sent.name, sent.data["credits"]) == ("balance", 50), "no event is repeated"
    await buyer.buy()
    async with open_stream(buyer.api, last_event_id=sent.id) as reader:
        sent = await reader.next()
        assert (sent.name, sent.data["credits"]) == ("balance", 100)
        await buyer.api.post("/api/iam/v1/subscription/cancel")
        assert (await reader.next()).name == "plan"


@pytest.mark.parametrize("last_event_id", ["", ".", "x", "x.y.z", "\u00e9" * 300])
@pytest.mark.gen_test
async def test_unknown_last_event_id_starts_from_the_beginning(
    api: Api, last_event_id: str
) -> None:
    async with open_stream(api, last_event_id=last_event_id) as reader:
        assert [(await reader.next()).name for _ in range(2)] == ["balance", "plan"]


@pytest.mark.mongod
@pytest.mark.gen_test
async def test_killed_change_stream_is_reopened(
    buyer: Buyer,
    webhooks: Webhooks,
    service: Service,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(changes, "_RETRY_SECONDS", 0.05)
    await buyer.subscribe()
    async with open_stream(buyer.api) as reader:
        await reader.wait_for_balance(0)
        await kill_change_streams(service)
        await buyer.buy()
        await reader.wait_for_balance(50)


async def kill_change_streams(service: Service) -> None:
    """Kill the change streams of the service on the MongoDB server."""
    database = service.store._database
    admin = service.store._client.admin.with_options(read_concern=ReadConcern("local"))
    own_cursors = {"ns": {"$regex": f"^{database.name}"}, "cursor": {"$exists": True}}
    stages = [{"$currentOp": {"idleCursors": True}}, {"$match": own_cursors}]
    found: list[Any] = []
    while not found:
        found = await aggregate(admin, stages)
    for operation in found:
        await database.command(
            "killCursors", "$cmd.aggregate", cursors=[operation["cursor"]["cursorId"]]
        )


@pytest.mark.mongod
@pytest.mark.gen_test
async def test_stream_continues_when_change_stream_raises(
    buyer: Buyer, webhooks: Webhooks, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(changes, "_RETRY_SECONDS", 0.05)
    monkeypatch.setattr(changes, "_accounts_of", lambda _: 1 / 0)
    await buyer.subscribe()
    async with open_stream(buyer.api) as reader:
        await reader.wait_for_balance(0)
        for credits in (50, 100):
            await buyer.buy()
            await reader.wait_for_balance(credits)


@pytest.mark.mongod
@pytest.mark.gen_test
async def test_stream_polls_when_change_streams_are_not_available(
    buyer: Buyer, webhooks: Webhooks, service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same happens if the database user may not open a change stream."""
    monkeypatch.setattr(changes, "_RETRY_SECONDS", 0.05)
    monkeypatch.setattr(changes, "_PIPELINE", [{"$group": {"_id": None}}])
    await buyer.subscribe()
    async with open_stream(buyer.api) as reader:
        await reader.wait_for_balance(0)
        await buyer.buy()
        await reader.wait_for_balance(50)
