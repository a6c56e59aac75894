"""The life of a dispute, and its effect on the charge."""

import pytest
import stripe

from datalayer_stripe.sandbox import Sandbox, StripeError
from tests.sandbox.conftest import pay

DISPUTED_CARD = "4000000000000259"


def dispute_events(sandbox: Sandbox, since: int = 0) -> list[str]:
    return [event["type"].removeprefix("charge.dispute.") for event in sandbox.events[since:]]


@pytest.mark.gen_test
async def test_dispute_withdraws_amount_and_returns_it_when_won(
    sandbox: Sandbox, client: stripe.StripeClient
) -> None:
    intent_id = pay(sandbox)
    before = len(sandbox.events)
    dispute = sandbox.dispute(intent_id)
    assert dispute_events(sandbox, before) == ["charge.updated", "created", "funds_withdrawn"]
    assert (dispute["amount"], dispute["status"]) == (500, "needs_response")
    assert sandbox.get(dispute["charge"])["disputed"]
    listed = await client.v1.disputes.list_async({"payment_intent": intent_id})
    assert [item.id for item in listed.data] == [dispute["id"]]
    retrieved = await client.v1.disputes.retrieve_async(dispute["id"], {"expand": ["charge"]})
    assert retrieved.charge.payment_intent == intent_id
    assert [item.amount for item in retrieved.balance_transactions] == [-500]

    before = len(sandbox.events)
    won = sandbox.close_dispute(dispute["id"], won=True)
    assert dispute_events(sandbox, before) == ["closed", "funds_reinstated"]
    assert won["status"] == "won"
    assert [item["amount"] for item in won["balance_transactions"]] == [-500, 500]
    with pytest.raises(StripeError, match="already won"):
        sandbox.close_dispute(dispute["id"], won=True)
    before = len(sandbox.events)
    assert sandbox.close_dispute(dispute["id"], won=False)["status"] == "lost"
    assert dispute_events(sandbox, before) == ["closed", "funds_withdrawn"], (
        "the bank can change its decision"
    )


@pytest.mark.gen_test
async def test_default_amount_of_dispute_is_unrefunded_amount(sandbox: Sandbox) -> None:
    intent_id = pay(sandbox)
    sandbox.refund(intent_id, 200)
    dispute = sandbox.dispute(intent_id)
    assert dispute["amount"] == 300
    assert [item["amount"] for item in dispute["balance_transactions"]] == [-300]
    sandbox.close_dispute(dispute["id"], won=True)
    sandbox.refund(intent_id)
    assert sandbox.dispute(intent_id)["amount"] == 500, "the full amount can be disputed"


@pytest.mark.gen_test
async def test_errors_format_amounts_as_money(sandbox: Sandbox) -> None:
    intent_id = pay(sandbox)
    sandbox.refund(intent_id, 100)
    with pytest.raises(StripeError, match=r"\(\$10\.00\) .* unrefunded amount .* \(\$4\.00\)"):
        sandbox.refund(intent_id, 1000)
    with pytest.raises(StripeError, match=r"at most \$5\.00"):
        sandbox.dispute(intent_id, 1000)


@pytest.mark.gen_test
async def test_lost_dispute_returns_no_money(sandbox: Sandbox, client: stripe.StripeClient) -> None:
    dispute = sandbox.dispute(pay(sandbox), amount=200)
    before = len(sandbox.events)
    lost = await client.v1.disputes.close_async(dispute["id"])
    assert (lost.status, lost.amount) == ("lost", 200)
    assert dispute_events(sandbox, before) == ["closed"]


@pytest.mark.gen_test
@pytest.mark.parametrize(
    ("evidence", "status"),
    [("winning_evidence", "won"), ("losing_evidence", "lost"), ("my word", "under_review")],
)
async def test_test_evidence_decides_dispute(
    sandbox: Sandbox, client: stripe.StripeClient, evidence: str, status: str
) -> None:
    dispute = sandbox.dispute(pay(sandbox))
    text = {"uncategorized_text": evidence}
    draft = await client.v1.disputes.update_async(
        dispute["id"], {"evidence": text, "submit": False}
    )
    assert draft.status == "needs_response"
    answered = await client.v1.disputes.update_async(dispute["id"], {"evidence": text})
    assert answered.status == status
    if status != "under_review":
        with pytest.raises(stripe.InvalidRequestError, match="too late"):
            await client.v1.disputes.update_async(dispute["id"], {"evidence": text})


@pytest.mark.gen_test
async def test_inquiry_withdraws_money_only_after_escalation(sandbox: Sandbox) -> None:
    inquiry = sandbox.dispute(pay(sandbox), inquiry=True)
    assert (inquiry["status"], inquiry["balance_transactions"]) == ("warning_needs_response", [])
    before = len(sandbox.events)
    closed = sandbox.close_dispute(inquiry["id"], won=True)
    assert (closed["status"], dispute_events(sandbox, before)) == ("warning_closed", ["closed"])
    with pytest.raises(StripeError, match="not an inquiry"):
        sandbox.escalate_dispute(inquiry["id"])
    with pytest.raises(StripeError, match="already warning_closed"):
        sandbox.close_dispute(inquiry["id"], won=False)

    inquiry = sandbox.dispute(pay(sandbox), inquiry=True)
    before = len(sandbox.events)
    assert sandbox.escalate_dispute(inquiry["id"])["status"] == "needs_response"
    assert dispute_events(sandbox, before) == ["updated", "funds_withdrawn"]
    inquiry = sandbox.dispute(pay(sandbox), inquiry=True)
    assert sandbox.close_dispute(inquiry["id"], won=False)["status"] == "lost"


@pytest.mark.gen_test
@pytest.mark.parametrize(
    ("card", "status"),
    [
        (DISPUTED_CARD, "needs_response"),
        ("pm_card_createDispute", "needs_response"),
        ("pm_card_createDisputeProductNotReceived", "needs_response"),
        ("pm_card_createDisputeInquiry", "warning_needs_response"),
    ],
)
async def test_test_card_opens_dispute_after_payment(
    sandbox: Sandbox, card: str, status: str
) -> None:
    intent_id = pay(sandbox, card)
    [dispute] = sandbox.call("GET", "/v1/disputes", payment_intent=intent_id)["data"]
    assert dispute["status"] == status
    types = dispute_events(sandbox)
    assert types.index("payment_intent.succeeded") < types.index("created")


@pytest.mark.gen_test
async def test_unpaid_intent_and_excessive_amount_cannot_be_disputed(sandbox: Sandbox) -> None:
    open_intent = sandbox.call("POST", "/v1/payment_intents", amount=500, currency="usd")
    with pytest.raises(StripeError, match="not paid"):
        sandbox.dispute(open_intent["id"])
    with pytest.raises(StripeError, match=r"at most \$5\.00"):
        sandbox.dispute(pay(sandbox), amount=501)
