"""Reconciliation and audit of refunds and disputes."""

from datetime import timedelta

import pytest

from datalayer_stripe.reconciliation.differences import RECONCILE_COMMAND, REPAIR_COMMAND
from datalayer_stripe.reconciliation.findings import Finding, Report
from datalayer_stripe.sandbox import Sandbox
from datalayer_stripe.sandbox.delivery.webhooks import Webhooks
from datalayer_stripe.service import Service
from tests.support.app import ACCOUNT, Clock, json_of
from tests.support.audits import differences
from tests.support.shop import Buyer, calls, rows

pytestmark = pytest.mark.mongod


async def reconcile(
    service: Service, clock: Clock, *, days: int = 30, dry_run: bool = False
) -> tuple[Report, list[Finding]]:
    found: list[Finding] = []
    reconciliation = service.reconciliation(dry_run=dry_run, on_finding=found.append)
    return await reconciliation.run(clock() - timedelta(days=days)), found


@pytest.mark.gen_test
async def test_event_sweep_processes_undelivered_reversals(
    buyer: Buyer, sandbox: Sandbox, webhooks: Webhooks, service: Service, clock: Clock
) -> None:
    await buyer.subscribe()
    bought = [(await buyer.buy())["id"] for _ in range(2)]
    webhooks.drop(1000)
    refund = sandbox.refund(bought[0], 100)
    dispute = sandbox.dispute(bought[1])
    clock.advance(minutes=6)
    found = await differences(service)
    assert [(one.kind, one.id) for one in found] == [
        ("refund", refund["id"]),
        ("dispute", dispute["id"]),
    ]
    assert found[0].explanation == "amount: ledger 0, Stripe 100"
    assert found[0].command == RECONCILE_COMMAND
    _, missing = await reconcile(service, clock, dry_run=True)
    assert {one.kind for one in missing} == {"event"}
    assert await buyer.credits() == 100

    await reconcile(service, clock)
    assert await buyer.credits() == 40
    _, again = await reconcile(service, clock)
    assert again == []
    assert await differences(service) == []


@pytest.mark.gen_test
async def test_one_run_processes_refund_and_its_top_up(
    buyer: Buyer, sandbox: Sandbox, webhooks: Webhooks, service: Service, clock: Clock
) -> None:
    await buyer.subscribe()
    webhooks.drop(1000)
    paid = sandbox.confirm_payment(json_of(await buyer.ask_to_buy())["client_secret"])
    sandbox.refund(paid["id"], 100)
    clock.advance(minutes=6)
    _, found = await reconcile(service, clock)
    assert "failed" not in {one.outcome for one in found}, (
        "an event that fails before its top-up is retried"
    )
    assert len({one.id for one in found}) == len(found), "each is reported once"
    assert await buyer.credits() == 40
    assert await differences(service) == []


@pytest.mark.gen_test
async def test_event_that_fails_is_reported_as_failed(
    buyer: Buyer,
    sandbox: Sandbox,
    webhooks: Webhooks,
    service: Service,
    clock: Clock,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    await buyer.subscribe()
    bought = await buyer.buy()
    webhooks.drop(1000)
    sandbox.refund(bought["id"])

    async def broken(_: str) -> None:
        raise RuntimeError("broken")

    monkeypatch.setattr(service.store.reversals, "take_ticket", broken)
    _, found = await reconcile(service, clock)
    refunds = [one for one in found if "refund" in one.detail]
    assert {one.outcome for one in refunds} == {"failed"}
    monkeypatch.undo()
    await reconcile(service, clock)
    assert await buyer.credits() == 0


@pytest.mark.gen_test
async def test_reversals_older_than_events_are_processed(
    buyer: Buyer, sandbox: Sandbox, webhooks: Webhooks, service: Service, clock: Clock
) -> None:
    await buyer.subscribe()
    bought = [(await buyer.buy())["id"] for _ in range(3)]
    webhooks.drop(1000)
    refund, dispute = sandbox.refund(bought[0], 100), sandbox.dispute(bought[1])
    sandbox.forget_events()
    clock.advance(days=31)
    listed = calls(sandbox, "GET", "/v1/refunds")
    _, found = await reconcile(service, clock, days=3)
    assert "refund" not in {one.kind for one in found}
    assert calls(sandbox, "GET", "/v1/refunds") == listed, "the periodic run does not list them"

    _, missing = await reconcile(service, clock, days=60, dry_run=True)
    expected = {("refund", refund["id"]), ("dispute", dispute["id"])}
    assert {(one.kind, one.id) for one in missing} >= expected
    report, found = await reconcile(service, clock, days=60)
    processed = {(one.kind, one.id): one.outcome for one in found if one.kind != "subscription"}
    assert processed == dict.fromkeys(expected, "processed")
    assert report.checked["refund"] == 1
    assert await buyer.credits() == 90
    assert await differences(service) == []
    _, again = await reconcile(service, clock, days=60)
    assert [one.kind for one in again] == []


@pytest.mark.gen_test
async def test_refund_rejected_with_its_top_up_is_retried_after_the_top_up(
    buyer: Buyer, sandbox: Sandbox, webhooks: Webhooks, service: Service, clock: Clock
) -> None:
    await buyer.subscribe()
    webhooks.hold()
    paid = sandbox.confirm_payment(json_of(await buyer.ask_to_buy())["client_secret"])
    customers = service.store._database.customers
    mine = await customers.find_one_and_delete({"_id": ACCOUNT})
    await customers.insert_one({**mine, "_id": "another"})
    sandbox.refund(paid["id"], 100)
    webhooks.release()
    await webhooks.settle()
    clock.advance(minutes=6)
    report, found = await reconcile(service, clock)
    assert not [one for one in found if "refund" in one.detail]
    assert report.rejected >= 3, "they wait for the operator"

    await customers.delete_one({"_id": "another"})
    [top_up] = [
        one
        async for one in service.store.event_lists.find(status="rejected")
        if one.type == "payment_intent.succeeded"
    ]
    assert (await service.processor.replay(top_up.id)).outcome == "processed"
    assert await buyer.credits() == 50
    [difference] = await differences(service)
    assert difference.explanation == "amount: ledger 0, Stripe 100"
    assert difference.command == RECONCILE_COMMAND
    report, _ = await reconcile(service, clock)
    assert await buyer.credits() == 40
    assert report.rejected == 0
    assert [one async for one in service.store.event_lists.find(status="rejected")] == []
    assert await differences(service) == []


@pytest.mark.gen_test
async def test_dispute_rejected_after_its_top_up_is_not_retried(
    buyer: Buyer, sandbox: Sandbox, webhooks: Webhooks, service: Service, clock: Clock
) -> None:
    await buyer.subscribe()
    bought = await buyer.buy()
    clock.advance(minutes=6)
    webhooks.hold()
    dispute = sandbox.dispute(bought["id"])
    sandbox.put({**dispute, "currency": "eur"})
    webhooks.release()
    await webhooks.settle()
    report, found = await reconcile(service, clock)
    assert not [one for one in found if "dispute" in one.detail]
    assert report.rejected == 2


@pytest.mark.gen_test
async def test_dispute_open_only_in_ledger_is_reported_and_corrected(
    buyer: Buyer, sandbox: Sandbox, webhooks: Webhooks, service: Service, clock: Clock
) -> None:
    await buyer.subscribe()
    dispute = sandbox.dispute((await buyer.buy())["id"])
    await webhooks.settle()
    webhooks.drop(1000)
    sandbox.close_dispute(dispute["id"], won=False)
    sandbox.forget_events()
    clock.advance(days=31)
    [difference] = await differences(service)
    assert (difference.kind, difference.id) == ("dispute", dispute["id"])
    assert difference.explanation == "open here, but not at Stripe"
    assert difference.command == REPAIR_COMMAND, "Stripe has no event of it any more"
    assert await service.store.reversals.has_open_dispute(ACCOUNT)
    await reconcile(service, clock, days=60)
    assert not await service.store.reversals.has_open_dispute(ACCOUNT)
    assert await differences(service) == []


@pytest.mark.gen_test
async def test_audit_does_not_judge_old_dispute_with_recent_change(
    buyer: Buyer, sandbox: Sandbox, webhooks: Webhooks, service: Service, clock: Clock
) -> None:
    await buyer.subscribe()
    dispute = sandbox.dispute((await buyer.buy())["id"])
    await webhooks.settle()
    clock.advance(days=2)
    webhooks.hold()
    sandbox.close_dispute(dispute["id"], won=True)
    assert await differences(service) == []
    clock.advance(minutes=6)
    assert [one.id for one in await differences(service)] == [dispute["id"]]


@pytest.mark.gen_test
async def test_audit_explains_each_difference_of_reversals(
    buyer: Buyer, sandbox: Sandbox, webhooks: Webhooks, service: Service, clock: Clock
) -> None:
    await buyer.subscribe()
    bought = [(await buyer.buy())["id"] for _ in range(4)]
    refunds = [sandbox.refund(intent_id, 100)["id"] for intent_id in bought]
    await webhooks.settle()
    clock.advance(minutes=6)
    assert await differences(service) == []

    ledger = service.store._database.ledger
    await ledger.update_one({"_id": refunds[0]}, {"$inc": {"credits": 3}})
    await ledger.update_one({"_id": refunds[1]}, {"$set": {"amount": -99}})
    await ledger.update_one({"_id": refunds[2]}, {"$set": {"account_uid": "another"}})
    row = await ledger.find_one({"_id": refunds[3]})
    await ledger.insert_one({**row, "_id": "re_made_up"})
    found = {(one.kind, one.id): one.explanation for one in await differences(service)}
    assert found.pop(("balance", ACCOUNT))
    assert found.pop(("balance", "another"))
    assert found.pop(("reversal", bought[1])).startswith("its reversal rows sum to")
    assert found.pop(("reversal", bought[3])).startswith("its reversal rows sum to")
    assert found == {
        ("reversal", bought[0]): "7 credits taken back instead of 10",
        ("refund", refunds[1]): "amount: ledger 99, Stripe 100",
        ("reversal", bought[2]): "a reversal is on another account",
        ("ledger", "re_made_up"): "-10 credits, but Stripe has no re_made_up",
    }


@pytest.mark.gen_test
async def test_audit_finds_deleted_rows(
    buyer: Buyer, sandbox: Sandbox, webhooks: Webhooks, service: Service, clock: Clock
) -> None:
    await buyer.subscribe()
    first, second = [(await buyer.buy())["id"] for _ in range(2)]
    for intent_id in (first, second):
        sandbox.refund(intent_id)
    await webhooks.settle()
    clock.advance(minutes=6)
    [gone, _] = [row["_id"] for row in await rows(service, "ledger") if row["kind"] == "refund"]
    database = service.store._database
    await database.ledger.delete_one({"_id": gone})
    await database.accounts.update_one({"_id": ACCOUNT}, {"$inc": {"credits": 50}})
    assert [(one.kind, one.id) for one in await differences(service)] == [("refund", gone)]
    [reverses] = {first, second} - {
        row["reverses"] for row in await rows(service, "ledger") if row.get("reverses")
    }
    await database.ledger.delete_many({"_id": {"$in": [first, second], "$ne": reverses}})
    kinds = {one.kind for one in await differences(service)}
    assert kinds == {"balance", "payment", "refund", "reversal"}
