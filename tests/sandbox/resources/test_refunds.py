"""Refunds: succeeded, pending and failed ones, and their limits."""

import pytest
import stripe

from datalayer_stripe.sandbox import Sandbox, StripeError
from tests.sandbox.conftest import Http, event_types, pay
from tests.sandbox.creation import create_intent


@pytest.mark.gen_test
async def test_charge_is_refunded_partially_then_fully(
    sandbox: Sandbox, client: stripe.StripeClient
) -> None:
    intent = await create_intent(client, confirm=True, payment_method="pm_card_visa")
    refunds = client.v1.refunds
    part = await refunds.create_async({"payment_intent": intent.id, "amount": 200})
    assert (part.amount, part.status) == (200, "succeeded")
    charge = sandbox.get(intent.latest_charge)
    assert (charge["amount_refunded"], charge["refunded"]) == (200, False)
    assert event_types(sandbox)[-3:] == ["refund.created", "charge.refunded", "refund.updated"]
    assert sandbox.events[-2]["data"]["previous_attributes"] == {"amount_refunded": 0}

    with pytest.raises(stripe.InvalidRequestError, match="greater than"):
        await refunds.create_async({"payment_intent": intent.id, "amount": 301})
    rest = sandbox.refund(intent.id)
    assert rest["amount"] == 300
    assert sandbox.get(intent.latest_charge)["refunded"] is True
    with pytest.raises(stripe.InvalidRequestError) as caught:
        await refunds.create_async({"charge": intent.latest_charge})
    assert caught.value.code == "charge_already_refunded"
    listed = await refunds.list_async({"payment_intent": intent.id})
    assert [refund.amount for refund in listed.data] == [300, 200]
    with_refunds = await client.v1.charges.retrieve_async(
        intent.latest_charge, {"expand": ["refunds"]}
    )
    assert len(with_refunds.refunds.data) == 2


@pytest.mark.gen_test
async def test_unpaid_intent_cannot_be_refunded(client: stripe.StripeClient) -> None:
    intent = await create_intent(client)
    with pytest.raises(stripe.InvalidRequestError, match="successful charge"):
        await client.v1.refunds.create_async({"payment_intent": intent.id})


@pytest.mark.gen_test
async def test_failed_refund_restores_charge(sandbox: Sandbox) -> None:
    refund = sandbox.refund(pay(sandbox), 200)
    before = len(sandbox.events)
    failed = sandbox.settle_refund(refund["id"], fail=True)
    assert (failed["status"], failed["failure_reason"]) == ("failed", "lost_or_stolen_card")
    assert event_types(sandbox, before) == ["refund.updated", "charge.updated", "refund.failed"]
    assert sandbox.get(refund["charge"])["amount_refunded"] == 0
    for fail in (True, False):
        with pytest.raises(StripeError, match="already failed"):
            sandbox.settle_refund(refund["id"], fail=fail)


@pytest.mark.gen_test
async def test_pending_refund_succeeds_or_fails_later(sandbox: Sandbox, http: Http) -> None:
    refund = sandbox.refund(pay(sandbox, "pm_card_pendingRefund"))
    assert refund["status"] == "pending"
    before = len(sandbox.events)
    assert sandbox.settle_refund(refund["id"])["status"] == "succeeded"
    assert event_types(sandbox, before) == ["refund.updated", "refund.updated"]
    with pytest.raises(StripeError, match="already succeeded"):
        sandbox.settle_refund(refund["id"])
    late = sandbox.refund(pay(sandbox, "pm_card_pendingRefund"))
    assert sandbox.settle_refund(late["id"], fail=True)["status"] == "failed"


@pytest.mark.gen_test
async def test_refund_is_labelled(sandbox: Sandbox, client: stripe.StripeClient) -> None:
    refund = sandbox.refund(pay(sandbox))
    since = len(sandbox.events)
    changed = await client.v1.refunds.update_async(refund["id"], {"metadata": {"order": "7"}})
    assert changed.metadata.to_dict() == {"order": "7"}
    assert event_types(sandbox, since) == ["refund.updated", "charge.refund.updated"]
