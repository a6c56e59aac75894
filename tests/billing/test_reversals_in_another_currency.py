"""Only the refund or dispute in another currency than its payment is skipped and reported."""

from datetime import timedelta

import pytest

from datalayer_stripe.reconciliation.findings import Finding
from datalayer_stripe.sandbox import Sandbox
from datalayer_stripe.sandbox.delivery.webhooks import Webhooks
from datalayer_stripe.service import Service
from tests.support.app import Clock
from tests.support.audits import differences
from tests.support.shop import Buyer, rows

pytestmark = pytest.mark.mongod


async def rejected_objects(service: Service) -> set[str | None]:
    return {one.object_id async for one in service.store.event_lists.find(status="rejected")}


@pytest.mark.gen_test
async def test_dispute_in_another_currency_does_not_block_the_refunds(
    buyer: Buyer,
    sandbox: Sandbox,
    webhooks: Webhooks,
    service: Service,
    clock: Clock,
    caplog: pytest.LogCaptureFixture,
) -> None:
    await buyer.subscribe()
    bought = await buyer.buy()
    webhooks.hold()
    dispute = sandbox.dispute(bought["id"])
    sandbox.put({**dispute, "currency": "eur"})
    first, second = sandbox.refund(bought["id"], 100), sandbox.refund(bought["id"], 200)
    webhooks.release("shuffled", seed=3)
    await webhooks.settle()
    assert await buyer.credits() == 20
    taken = {row["_id"] for row in await rows(service, "ledger") if row.get("reverses")}
    assert taken == {first["id"], second["id"]}
    assert await rejected_objects(service) == {dispute["id"]}
    reason = f"{dispute['id']} is in eur, the payment in usd"
    [line, *_] = [one for one in caplog.records if one.message == "reversal skipped"]
    assert (line.levelname, line.__dict__["reason"]) == ("WARNING", reason)

    clock.advance(minutes=6)
    [found] = await differences(service)
    assert (found.kind, found.id, found.command) == ("dispute", dispute["id"], None)
    assert found.explanation == (
        "500 eur are held back, but the payment is in usd: decide which credits to take back"
    )


@pytest.mark.gen_test
async def test_reconciliation_creates_no_event_for_an_old_dispute_in_another_currency(
    buyer: Buyer, sandbox: Sandbox, webhooks: Webhooks, service: Service, clock: Clock
) -> None:
    await buyer.subscribe()
    bought = await buyer.buy()
    webhooks.drop(1000)
    dispute = sandbox.dispute(bought["id"])
    sandbox.put({**dispute, "currency": "eur"})
    refund = sandbox.refund(bought["id"], 100)
    sandbox.forget_events()
    clock.advance(days=31)
    found: list[Finding] = []
    run = service.reconciliation(on_finding=found.append)
    report = await run.run(clock() - timedelta(days=60))
    assert [(one.id, one.outcome) for one in found if one.kind in ("refund", "dispute")] == [
        (refund["id"], "processed")
    ]
    assert report.rejected == 1
    assert await buyer.credits() == 40
    assert await rejected_objects(service) == set()
