"""Reconciliation processes undelivered events once, and the audit finds no differences after it."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta

import pytest

from datalayer_stripe.errors import StripeUnavailable
from datalayer_stripe.events import Event
from datalayer_stripe.reconciliation.audit import Difference
from datalayer_stripe.reconciliation.findings import Finding, Report
from datalayer_stripe.reconciliation.periodic import LEASE, PeriodicReconciliation
from datalayer_stripe.sandbox import Sandbox
from datalayer_stripe.sandbox.delivery.webhooks import Webhooks
from datalayer_stripe.service import Service
from datalayer_stripe.store.job_marks import Deferral
from datalayer_stripe.store.unit_of_work import UnitOfWork
from tests.support.app import ACCOUNT, Clock, json_of
from tests.support.shop import Buyer, Shop, calls, rows, subscribe_elsewhere

pytestmark = pytest.mark.mongod

LONG_AGO = timedelta(days=30)


async def reconcile(
    service: Service, clock: Clock, *, dry_run: bool = False, since: timedelta = LONG_AGO
) -> tuple[Report, list[Finding]]:
    found: list[Finding] = []
    reconciliation = service.reconciliation(dry_run=dry_run, on_finding=found.append)
    return await reconciliation.run(clock() - since), found


@pytest.mark.gen_test
async def test_audit_reports_the_part_of_each_kind_that_is_done(
    buyer: Buyer, webhooks: Webhooks, service: Service, clock: Clock
) -> None:
    progress: dict[str, list[tuple[int, float | None]]] = {}

    def on_progress(kind: str, checked: int, part: float | None) -> None:
        progress.setdefault(kind, []).append((checked, part))

    await service.store.accounts.describe("alice", handle=None, email=None)
    await buyer.subscribe()
    await buyer.buy()
    clock.advance(minutes=10)
    await buyer.buy()
    await webhooks.settle()
    clock.advance(minutes=10)
    await service.audit(on_progress=on_progress).run()
    assert progress["account"] == [(1, 0.5), (2, 1.0)]
    [(_, whole)] = progress["payment"]
    assert whole == pytest.approx(1, abs=0.1), "the list ends with the first payment"

    progress.clear()
    since = clock() - timedelta(minutes=40)
    await service.audit(account_uid=ACCOUNT, since=since, on_progress=on_progress).run()
    assert progress["account"] == [(1, None)]
    [(_, half)] = progress["payment"]
    assert half == pytest.approx(0.5, abs=0.1), "20 of 40 minutes, before which there is none"


async def audit(service: Service) -> list[Difference]:
    found: list[Difference] = []
    report = await service.audit(on_difference=found.append).run()
    assert report.differences == len(found)
    return found


@pytest.mark.gen_test
async def test_dropped_deliveries_are_processed_once(
    buyer: Buyer, webhooks: Webhooks, service: Service, clock: Clock
) -> None:
    webhooks.drop(1000)
    subscription_id = await buyer.subscribe()
    clock.advance(minutes=6)
    _, missing = await reconcile(service, clock, dry_run=True)
    assert {"event", "subscription"} == {one.kind for one in missing}
    [kept] = await rows(service, "subscriptions")
    assert kept["status"] == "incomplete"
    await buyer.buy()
    await buyer.buy(buyer.shop.packages[2])
    _, missing = await reconcile(service, clock, dry_run=True)
    assert "payment" not in {one.kind for one in missing}, "its event may still arrive"
    clock.advance(minutes=6)
    _, missing = await reconcile(service, clock, dry_run=True)
    assert {"event", "payment"} == {one.kind for one in missing}
    assert {one.outcome for one in missing} == {None}
    assert await buyer.credits() == 0, "a dry run changes nothing"

    _, processed = await reconcile(service, clock)
    assert {one.outcome for one in processed} <= {"processed", "duplicate"}
    assert await buyer.credits() == 650
    assert (await buyer.plan())["id"] == subscription_id
    assert (await buyer.plan())["status"] == "active"

    report, again = await reconcile(service, clock)
    assert again == []
    assert report.checked["event"] > 5
    assert await buyer.credits() == 650
    assert await audit(service) == []


@pytest.mark.gen_test
async def test_concurrent_reconciliations_and_webhooks_credit_once(
    buyer: Buyer, webhooks: Webhooks, service: Service, clock: Clock
) -> None:
    await buyer.subscribe()
    webhooks.hold()
    intents = [await buyer.ask_to_buy(Idempotency_Key=f"order-{n}") for n in range(5)]
    for answer in intents:
        buyer.sandbox.confirm_payment(json_of(answer)["client_secret"])
    webhooks.release("shuffled", seed=1)
    await asyncio.gather(
        reconcile(service, clock), reconcile(service, clock), webhooks.settle(timeout=20)
    )
    assert await buyer.credits() == 250
    assert await audit(service) == []


@pytest.mark.gen_test
async def test_payment_without_event_at_stripe_is_credited(
    buyer: Buyer, webhooks: Webhooks, service: Service, clock: Clock, sandbox: Sandbox
) -> None:
    await buyer.subscribe()
    webhooks.drop(1000)
    paid = await buyer.buy()
    sandbox.forget_events()
    clock.advance(days=31)
    [difference] = await audit(service)
    assert (difference.kind, difference.id) == ("payment", paid["id"])
    day = f"{datetime.fromtimestamp(paid['created'], UTC):%Y-%m-%d}"
    assert difference.command == f"datalayer-stripe reconcile --since {day}"

    _, processed = await reconcile(service, clock, since=timedelta(days=60))
    assert [(one.kind, one.id, one.outcome) for one in processed] == [
        ("payment", paid["id"], "processed")
    ]
    assert await buyer.credits() == 50
    assert await audit(service) == []


@pytest.mark.gen_test
async def test_payment_with_job_of_another_plugin_is_credited(
    buyer: Buyer, webhooks: Webhooks, service: Service, clock: Clock, sandbox: Sandbox
) -> None:
    await buyer.subscribe()
    webhooks.drop(1000)
    paid = await buyer.buy()
    [succeeded] = [
        Event.model_validate(event)
        for event in sandbox.events
        if event["type"] == "payment_intent.succeeded"
        and event["data"]["object"]["id"] == paid["id"]
    ]
    # The credits were not added, and a plugin that is not installed any more deferred its work.
    await service.store.events.record_failure(succeeded, "top-up-credits", "a bug", clock())
    await service.store.commit(UnitOfWork(), Deferral(succeeded, "mailer", clock()))
    sandbox.forget_events()
    clock.advance(days=31)
    _, processed = await reconcile(service, clock, since=timedelta(days=60))
    assert ("payment", paid["id"], "processed") in [
        (one.kind, one.id, one.outcome) for one in processed
    ]
    assert await buyer.credits() == 50


@pytest.mark.gen_test
async def test_rejected_event_is_counted_and_not_processed_again(
    buyer: Buyer, webhooks: Webhooks, service: Service, clock: Clock, sandbox: Sandbox
) -> None:
    await buyer.subscribe()
    webhooks.drop(1000)
    paid = await buyer.buy()
    claimed = {"_id": "another", "customer_id": paid["customer"]}
    database = service.store._database
    await database.customers.delete_one({"_id": ACCOUNT})
    await database.customers.insert_one(claimed)
    await reconcile(service, clock)
    report, found = await reconcile(service, clock)
    assert report.rejected == 2, "the event, and the payment itself"
    assert [one.kind for one in found] == []
    clock.advance(minutes=6)
    [difference] = await audit(service)
    assert "events show" in difference.explanation

    await database.customers.delete_one(claimed)
    [record] = [one async for one in service.store.event_lists.find(status="rejected")]
    assert (await service.processor.replay(record.id)).outcome == "processed"
    assert await buyer.credits() == 50
    assert await audit(service) == []


@pytest.mark.gen_test
async def test_objects_of_other_systems_are_not_recorded(
    sandbox: Sandbox, shop: Shop, api: object, service: Service, clock: Clock
) -> None:
    price = sandbox.create_price(
        product=shop.other_product,
        unit_amount=100,
        currency="usd",
        recurring={"interval": "month"},
    )
    subscribe_elsewhere(sandbox, price["id"])
    sandbox.call(
        "POST",
        "/v1/payment_intents",
        amount=700,
        currency="usd",
        payment_method="pm_card_visa",
        confirm=True,
        automatic_payment_methods={"enabled": True, "allow_redirects": "never"},
    )
    _, found = await reconcile(service, clock)
    assert {one.kind for one in found} == {"event"}
    assert await rows(service, "ledger") == []
    assert await rows(service, "subscriptions") == []
    assert await audit(service) == []


@pytest.mark.gen_test
async def test_sweeps_read_all_pages(
    buyer: Buyer,
    webhooks: Webhooks,
    service: Service,
    clock: Clock,
    sandbox: Sandbox,
    unlimited: None,
) -> None:
    await buyer.subscribe()
    webhooks.drop(10_000)
    for number in range(130):
        started = await buyer.ask_to_buy(Idempotency_Key=f"order-{number}")
        assert started.code == 201
    for intent in sandbox.call("GET", "/v1/payment_intents", limit=100)["data"][:70]:
        if intent["status"] == "requires_payment_method":
            sandbox.confirm_payment(intent["client_secret"])
    report, _ = await reconcile(service, clock)
    assert report.checked["payment"] == 131
    assert calls(sandbox, "GET", "/v1/payment_intents") == 2
    assert await buyer.credits() == 70 * 50
    assert await audit(service) == []


@pytest.mark.gen_test
async def test_audit_explains_each_difference(
    buyer: Buyer, webhooks: Webhooks, service: Service
) -> None:
    await buyer.subscribe()
    first, second = await buyer.buy(), await buyer.buy()
    database = service.store._database
    await database.accounts.update_one({"_id": ACCOUNT}, {"$inc": {"credits": 1}})
    await database.accounts.insert_one({"_id": "zero", "credits": 0})
    await database.accounts.insert_one({"_id": "a-gift", "credits": 5})
    await database.ledger.update_one({"_id": first["id"]}, {"$set": {"amount": 1}})
    [row] = [one for one in await rows(service, "ledger") if one["_id"] == second["id"]]
    await database.ledger.insert_one({**row, "_id": "pi_made_up", "account_uid": "b"})

    explanations = {(one.kind, one.id): one.explanation for one in await audit(service)}
    assert explanations == {
        ("balance", "a-gift"): "the balance is 5, but its ledger sums to 0",
        ("balance", ACCOUNT): "the balance is 101, but its ledger sums to 100",
        ("balance", "b"): "the balance is 0, but its ledger sums to 50",
        ("payment", first["id"]): "amount: ledger 1, Stripe 500",
        ("ledger", "pi_made_up"): "the ledger has 50 credits, but Stripe has no such payment",
    }
    assert not [name for name in await database.list_collection_names() if "audit" in name]


@pytest.mark.gen_test
async def test_rejected_subscription_does_not_stop_run_or_create_events(
    buyer: Buyer, webhooks: Webhooks, service: Service, clock: Clock, sandbox: Sandbox
) -> None:
    await buyer.subscribe()
    webhooks.drop(1000)
    await buyer.buy()
    subscribe_elsewhere(sandbox, buyer.shop.plan, account="")  # of an unknown account
    await reconcile(service, clock)
    assert await buyer.credits() == 50
    known = len(await rows(service, "events"))
    report, found = await reconcile(service, clock)
    assert found == []
    assert report.rejected > 0
    assert len(await rows(service, "events")) == known
    [record, *_] = [one async for one in service.store.event_lists.find(status="rejected")]
    assert (await service.processor.replay(record.id)).outcome == "rejected"


@pytest.mark.gen_test
async def test_no_synthetic_event_for_payment_whose_event_is_pending(
    buyer: Buyer, webhooks: Webhooks, service: Service, clock: Clock, sandbox: Sandbox
) -> None:
    await buyer.subscribe()
    webhooks.hold()
    paid = await buyer.ask_to_buy()
    sandbox.confirm_payment(json_of(paid)["client_secret"])
    sandbox.forget_events()  # Stripe's list may lack the newest events.
    await reconcile(service, clock)
    assert not [row for row in await rows(service, "events") if "reconciled" in row["_id"]]
    webhooks.release()
    await webhooks.settle()
    assert await buyer.credits() == 50


@pytest.mark.gen_test
async def test_lost_change_to_another_product_is_processed(
    buyer: Buyer, webhooks: Webhooks, service: Service, clock: Clock, sandbox: Sandbox
) -> None:
    subscription_id = await buyer.subscribe()
    webhooks.drop(1000)
    other = sandbox.create_price(
        product=buyer.shop.other_product,
        unit_amount=2900,
        currency="usd",
        recurring={"interval": "month"},
    )["id"]
    item = sandbox.get(subscription_id)["items"]["data"][0]["id"]
    path = f"/v1/subscriptions/{subscription_id}"
    sandbox.call("POST", path, items=[{"id": item, "price": other}], proration_behavior="none")
    sandbox.forget_events()
    _, found = await reconcile(service, clock)
    assert [one.kind for one in found] == ["subscription"]
    assert not (await buyer.plan())["is_eligible"]


# The periodic task


def shared_time(clock: Clock) -> Callable[[], Awaitable[datetime]]:
    """Return a function that returns the test's time, as the time that all processes share."""

    async def now() -> datetime:
        return clock()

    return now


@pytest.mark.gen_test
async def test_one_process_reconciles_when_due(
    buyer: Buyer, webhooks: Webhooks, service: Service, clock: Clock
) -> None:
    def process() -> PeriodicReconciliation:
        return service.periodic_reconciliation(now=shared_time(clock))

    first, second = process(), process()
    webhooks.drop(1000)
    await buyer.subscribe()
    done = await asyncio.gather(*(one.run_if_due() for one in (first, second, first, second)))
    assert sorted(done) == [False, False, False, True]
    assert (await buyer.plan())["status"] == "active"

    assert not await second.run_if_due(), "not due again"
    clock.advance(minutes=61)
    assert await second.run_if_due()


@pytest.mark.gen_test
async def test_run_after_long_outage_covers_time_since_last_run(
    buyer: Buyer, webhooks: Webhooks, service: Service, clock: Clock
) -> None:
    periodic = service.periodic_reconciliation(now=shared_time(clock))
    await buyer.subscribe()
    assert await periodic.run_if_due()
    webhooks.drop(1000)
    await buyer.buy()
    clock.advance(days=8)
    assert await periodic.run_if_due()
    assert await buyer.credits() == 50


@pytest.mark.gen_test
async def test_lease_is_not_taken_with_slightly_earlier_time(
    service: Service, clock: Clock
) -> None:
    leases, length, interval = service.store.leases, timedelta(minutes=10), timedelta(hours=1)
    earlier, later = clock(), clock() + timedelta(seconds=5)
    long_ago = earlier - interval
    assert await leases.take(LEASE, "before", long_ago, length, interval=interval)
    await leases.release(LEASE, "before", long_ago, due_at=earlier, done_until=long_ago)
    assert await leases.take(LEASE, "first", later, length, interval=interval)
    assert not await leases.take(LEASE, "second", earlier, length, interval=interval)


@pytest.mark.gen_test
async def test_lease_of_crashed_process_expires(service: Service, clock: Clock) -> None:
    leases, length = service.store.leases, timedelta(minutes=10)
    assert await leases.take(LEASE, "crashed", clock(), length)
    assert not await leases.take(LEASE, "next", clock(), length)
    assert await leases.renew(LEASE, "crashed", clock(), length)
    clock.advance(minutes=11)
    assert await leases.take(LEASE, "next", clock(), length)
    assert not await leases.renew(LEASE, "crashed", clock(), length)


@pytest.mark.gen_test
async def test_run_is_postponed_while_stripe_is_down(
    service: Service, clock: Clock, sandbox: Sandbox, quick_retries: None
) -> None:
    periodic = service.periodic_reconciliation(now=shared_time(clock))
    sandbox.api.refuse(status=500, times=3)
    with pytest.raises(StripeUnavailable):
        await periodic.run_if_due()
    assert not await periodic.run_if_due(), "the next attempt is due after the backoff"
    clock.advance(minutes=11)
    assert await periodic.run_if_due()
