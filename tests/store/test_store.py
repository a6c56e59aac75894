"""The store on a real MongoDB: start, refused databases, commits and tickets."""

import asyncio
import json
import threading
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime

import pytest
from dns.resolver import NXDOMAIN

from datalayer_stripe.errors import AlreadyDone, CommitRefused, StoreError
from datalayer_stripe.events import Event
from datalayer_stripe.models import Identity, LedgerEntry, SubscriptionSnapshot
from datalayer_stripe.service import Service
from datalayer_stripe.store import CommitReceipt, UnitOfWork, commit, errors
from datalayer_stripe.store.driver import start_session, start_transaction
from datalayer_stripe.store.indexes import declared_collections
from datalayer_stripe.store.ledger import Credit
from datalayer_stripe.store.marks import Mark
from datalayer_stripe.store.unit_of_work import InsertOne, UpdateOne
from tests.support.app import Api, changed, json_of, recorded
from tests.support.database import connect
from tests.support.mongod import Mongod

NOW = datetime(2026, 11, 1, tzinfo=UTC)
EVENT = Event.model_validate_json(recorded("payment_intent.succeeded"))

NewMongod = Callable[[str | None], Mongod]


def snapshot(
    status: str = "active", *, id: str = "sub_1", account_uid: str = "a"
) -> SubscriptionSnapshot:
    return SubscriptionSnapshot(
        id=id,
        account_uid=account_uid,
        customer_id="cus_1",
        status=status,
        price_id="price_1",
        product_id="prod_1",
        plan_name="Monthly",
        plan_code="monthly",
        amount=2900,
        currency="usd",
        interval="month",
        interval_count=1,
        included_runs=None,
        current_period_start=NOW,
        current_period_end=NOW,
        cancel_at_period_end=False,
        cancel_at=None,
        canceled_at=None,
        ended_at=None,
        created_at=NOW,
        latest_invoice=None,
    )


def credit(account_uid: str, payment_intent_id: str) -> UnitOfWork:
    """Return a unit of work that adds 50 credits."""
    entry = LedgerEntry(
        id=payment_intent_id,
        account_uid=account_uid,
        kind="top-up",
        credits=50,
        amount=500,
        currency="usd",
        price_id="price_1",
        event_id="evt",
        created_at=NOW,
    )
    return UnitOfWork([Credit(entry)])


def mark(event_id: str) -> Mark:
    return Mark(EVENT.model_copy(update={"id": event_id}), "plugin", NOW)


# Start


@pytest.mark.gen_test
async def test_concurrent_starts_create_all_collections_and_indexes(mongodb_url: str) -> None:
    stores = await asyncio.gather(*(connect(mongodb_url, livemode=False) for _ in range(8)))
    indexes = {
        name: await stores[0]._database[name].index_information()
        for name in await stores[0]._database.list_collection_names()
    }
    for store in stores:
        await store.close()
    assert set(indexes) == set(declared_collections())
    assert indexes["customers"]["customer_id_1"]["unique"]
    assert indexes["events"]["received_at_1"]["expireAfterSeconds"] > 30 * 24 * 3600
    assert "object_id_1" in indexes["events"]
    assert "account_uid_1_created_at_-1__id_-1" in indexes["ledger"]
    assert "account_uid_1" in indexes["subscriptions"]


@pytest.mark.gen_test
async def test_connect_refuses_standalone_mongod_with_instructions(new_mongod: NewMongod) -> None:
    mongod = new_mongod(None)
    with pytest.raises(StoreError, match=r"DATALAYER_STRIPE_MONGODB_URL.*--replSet.*rs\.initiate"):
        await connect(f"mongodb://{mongod.address}/", livemode=False)


@pytest.mark.gen_test
async def test_connect_error_contains_variable_but_no_password() -> None:
    url = "mongodb://user:hunter2@127.0.0.1:9/?serverSelectionTimeoutMS=100"
    with pytest.raises(StoreError) as refused:
        await connect(url, livemode=False)
    assert "DATALAYER_STRIPE_MONGODB_URL" in str(refused.value)
    assert "hunter2" not in str(refused.value)
    assert refused.value.__suppress_context__


@pytest.mark.gen_test
async def test_slow_name_server_does_not_block_the_event_loop(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    loop, asked, answered = asyncio.get_running_loop(), asyncio.Event(), threading.Event()
    in_time: list[bool] = []

    def resolve(*_: object, **__: object) -> None:
        loop.call_soon_threadsafe(asked.set)
        in_time.append(answered.wait(2))
        raise NXDOMAIN

    monkeypatch.setattr("dns.resolver.resolve", resolve)
    url = "mongodb+srv://cluster.example.com/"
    connecting = asyncio.create_task(connect(url, livemode=False))
    await asked.wait()
    answered.set()
    with pytest.raises(StoreError, match="DATALAYER_STRIPE_MONGODB_URL"):
        await connecting
    assert all(in_time)


@pytest.mark.gen_test
async def test_connect_refuses_database_of_the_other_mode(mongodb_url: str) -> None:
    await (await connect(mongodb_url, livemode=False)).close()
    with pytest.raises(StoreError, match=r"test data.*live key"):
        await connect(mongodb_url, livemode=True)
    await (await connect(mongodb_url, livemode=False)).close()


@pytest.mark.mongod
@pytest.mark.gen_test
async def test_writes_are_majority_writes(service: Service) -> None:
    assert service.store._client.write_concern.document["w"] == "majority"


# Commit


@pytest.mark.mongod
@pytest.mark.gen_test
async def test_failed_unit_does_not_affect_others_of_its_group(service: Service) -> None:
    store = service.store
    units = {f"evt_{n}": credit(f"account_{n % 3}", f"pi_{n}") for n in range(12)}
    units["evt_garbage"] = UnitOfWork([InsertOne("plugin_x", {"value": object()})])
    units["evt_refused"] = UnitOfWork([UpdateOne("accounts", {"_id": "x"}, {"$no": 1}, True)])
    units["evt_0_again"] = credit("account_0", "pi_0")
    works = [store.commit(unit, mark(event_id)) for event_id, unit in units.items()]
    twice = [store.commit(credit("account_1", "pi_1"), mark("evt_1")) for _ in range(3)]
    outcomes = await asyncio.gather(*works, *twice, return_exceptions=True)
    failed = Counter(type(outcome) for outcome in outcomes if isinstance(outcome, Exception))
    assert failed == {AlreadyDone: 3, CommitRefused: 2}
    added = sum(receipt.credits_added for receipt in outcomes if isinstance(receipt, CommitReceipt))
    assert added == 12 * 50, "pi_0 counts once, although two events contain it"
    balances = [(await store.accounts.get(f"account_{n}")).credits for n in range(3)]
    assert balances == [200, 200, 200]


@pytest.fixture
def unhurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """Raise the time limits of a commit above the length of a test."""
    for limit in ("CALL_SECONDS", "COMMIT_SECONDS", "PLUGIN_WRITE_SECONDS"):
        monkeypatch.setattr(commit, limit, 60.0)
    monkeypatch.setattr(errors, "CALL_SECONDS", 60.0)


@pytest.mark.mongod
@pytest.mark.gen_test
async def test_locked_account_does_not_delay_other_accounts(
    api: Api, service: Service, unhurried: None
) -> None:
    def paid(account_uid: str, intent: str) -> bytes:
        event = json.loads(changed(recorded("payment_intent.succeeded")))
        event["data"]["object"]["id"] = intent
        event["data"]["object"]["customer"] = None
        event["data"]["object"]["metadata"]["account_uid"] = account_uid
        return json.dumps(event).encode()

    async with await start_session(service.store._client) as abandoned:
        await start_transaction(abandoned)
        await service.store._database.accounts.update_one(
            {"_id": "stuck"}, {"$inc": {"credits": 0}}, upsert=True, session=abandoned
        )
        stuck = [asyncio.create_task(api.deliver(paid("stuck", f"pi_s{n}"))) for n in range(5)]
        others = [api.deliver(paid(f"free_{n}", f"pi_f{n}")) for n in range(5)]
        answers = await asyncio.gather(*others)
        assert {answer.code for answer in answers} == {200}
        assert not any(task.done() for task in stuck), (
            "the commits of the locked account are retried"
        )
        await abandoned.abort_transaction()
    assert {answer.code for answer in await asyncio.gather(*stuck)} == {200}
    assert await api.credits("stuck") == 5 * 50


@pytest.mark.mongod
@pytest.mark.gen_test
async def test_credits_do_not_wait_for_slow_plugin_write(service: Service, unhurried: None) -> None:
    store = service.store
    await store._database.plugin_x.insert_one({"_id": 1})
    slow = UpdateOne("plugin_x", {"$where": "sleep(3000) || true"}, {"$set": {"seen": True}})
    writing = asyncio.create_task(store.commit(UnitOfWork([slow]), mark("evt_slow")))
    current = {"currentOp": 1, "ns": f"{store._database.name}.plugin_x"}
    async with asyncio.timeout(60):
        while not (await store._client.admin.command(current))["inprog"]:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    await store.commit(credit("a", "pi_1"), mark("evt_1"))
    assert not writing.done()
    await writing


# Tickets


@pytest.mark.mongod
@pytest.mark.gen_test
async def test_concurrent_calls_get_different_tickets(service: Service) -> None:
    take = service.store.subscriptions.take_ticket
    tickets = await asyncio.gather(*(take("sub_1") for _ in range(50)))
    assert sorted(tickets) == list(range(1, 51))


@pytest.mark.parametrize("order", [["early", "late"], ["late", "early"]])
@pytest.mark.mongod
@pytest.mark.gen_test
async def test_later_ticket_wins_in_any_order_of_writes(service: Service, order: list[str]) -> None:
    subscriptions = service.store.subscriptions
    tickets = {name: await subscriptions.take_ticket("sub_1") for name in ("early", "late")}
    for name in order:
        await subscriptions.write(snapshot(name), tickets[name])
    [kept] = await subscriptions.of_account("a")
    assert kept == snapshot("late")


@pytest.mark.mongod
@pytest.mark.gen_test
async def test_snapshot_with_ticket_0_does_not_replace_another(service: Service) -> None:
    subscriptions = service.store.subscriptions
    await subscriptions.write(snapshot("first"), 0)
    await subscriptions.write(snapshot("second"), 0)
    assert [kept.status for kept in await subscriptions.of_account("a")] == ["first"]
    await subscriptions.write(snapshot("third"), await subscriptions.take_ticket("sub_1"))
    assert [kept.status for kept in await subscriptions.of_account("a")] == ["third"]


@pytest.mark.mongod
@pytest.mark.gen_test
async def test_ticket_without_snapshot_does_not_make_subscription_known(service: Service) -> None:
    await service.store.subscriptions.take_ticket("sub_1")
    assert not await service.store.subscriptions.is_known("sub_1")
    await service.store.subscriptions.write(snapshot("unticketed"), 0)
    assert not await service.store.subscriptions.is_known("sub_1")


# Customers


@pytest.mark.mongod
@pytest.mark.gen_test
async def test_concurrent_callers_share_first_claim_and_customer(service: Service) -> None:
    customers = service.store.customers
    callers = [Identity(account_uid="a", email=f"{n}@example.com") for n in range(16)]
    claims = await asyncio.gather(*(customers.claim(caller, NOW) for caller in callers))
    assert len({claim.email for claim in claims}) == 1
    assigned = await asyncio.gather(*(customers.assign("a", f"cus_{n}") for n in range(16)))
    assert len(set(assigned)) == 1
    assert await customers.get("a") == assigned[0]
    assert await customers.account_of(assigned[0]) == "a"
    [row] = await service.store._database.customers.find().to_list(None)
    assert "email" not in row, "Stripe stores it from then on"


# memory://


@pytest.mark.gen_test
async def test_memory_database_logs_that_data_is_lost(
    caplog: pytest.LogCaptureFixture, api: Api
) -> None:
    assert any("LOST" in record.message for record in caplog.get_records("setup"))
    paid = recorded("payment_intent.succeeded")
    answers = await asyncio.gather(*(api.deliver(paid) for _ in range(10)))
    assert sorted(json_of(answer)["outcome"] for answer in answers) == [
        *["duplicate"] * 9,
        "processed",
    ]
    assert await api.credits() == 50


@pytest.mark.gen_test
async def test_event_that_a_plugin_has_failed_needs_a_delivery(service: Service) -> None:
    events = service.store.events
    failed, done = (EVENT.model_copy(update={"id": f"evt_{name}"}) for name in ("failed", "done"))
    await events.record_failure(failed, "one", "it failed", NOW)
    await events.record_rejection(done, "one", "not ours", NOW)
    assert await events.needing_no_delivery(["evt_failed", "evt_done", "evt_new"]) == {"evt_done"}
