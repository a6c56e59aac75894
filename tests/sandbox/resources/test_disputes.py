"""Disputes."""

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
    made = sandbox.dispute(intent_id)
    assert dispute_events(sandbox, before) == ["charge.updated", "created", "funds_withdrawn"]
    assert (made["amount"], made["status"]) == (500, "needs_response")
    assert sandbox.get(made["charge"])["disputed"]
    listed = await client.v1.disputes.list_async({"payment_intent": intent_id})
    assert [one.id for one in listed.data] == [made["id"]]
    kept = await client.v1.disputes.retrieve_async(made["id"], {"expand": ["charge"]})
    assert kept.charge.payment_intent == intent_id
    assert [one.amount for one in kept.balance_transactions] == [-500]

    before = len(sandbox.events)
    won = sandbox.close_dispute(made["id"], won=True)
    assert dispute_events(sandbox, before) == ["closed", "funds_reinstated"]
    assert won["status"] == "won"
    assert [one["amount"] for one in won["balance_transactions"]] == [-500, 500]
    with pytest.raises(StripeError, match="already won"):
        sandbox.close_dispute(made["id"], won=True)
    before = len(sandbox.events)
    assert sandbox.close_dispute(made["id"], won=False)["status"] == "lost"
    assert dispute_events(sandbox, before) == ["closed", "funds_withdrawn"], (
        "the bank can change its decision"
    )


@pytest.mark.gen_test
async def test_default_amount_of_dispute_is_unrefunded_amount(sandbox: Sandbox) -> None:
    intent_id = pay(sandbox)
    sandbox.refund(intent_id, 200)
    made = sandbox.dispute(intent_id)
    assert made["amount"] == 300
    assert [one["amount"] for one in made["balance_transactions"]] == [-300]
    sandbox.close_dispute(made["id"], won=True)
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
    made = sandbox.dispute(pay(sandbox), amount=200)
    before = len(sandbox.events)
    lost = await client.v1.disputes.close_async(made["id"])
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
    made = sandbox.dispute(pay(sandbox))
    text = {"uncategorized_text": evidence}
    draft = await client.v1.disputes.update_async(made["id"], {"evidence": text, "submit": False})
    assert draft.status == "needs_response"
    answered = await client.v1.disputes.update_async(made["id"], {"evidence": text})
    assert answered.status == status
    if status != "under_review":
        with pytest.raises(stripe.InvalidRequestError, match="too late"):
            await client.v1.disputes.update_async(made["id"], {"evidence": text})


@pytest.mark.gen_test
async def test_inquiry_withdraws_money_only_after_escalation(sandbox: Sandbox) -> None:
    asked = sandbox.dispute(pay(sandbox), inquiry=True)
    assert (asked["status"], asked["balance_transactions"]) == ("warning_needs_response", [])
    before = len(sandbox.events)
    closed = sandbox.close_dispute(asked["id"], won=True)
    assert (closed["status"], dispute_events(sandbox, before)) == ("warning_closed", ["closed"])
    with pytest.raises(StripeError, match="not an inquiry"):
        sandbox.escalate_dispute(asked["id"])
    with pytest.raises(StripeError, match="already warning_closed"):
        sandbox.close_dispute(asked["id"], won=False)

    asked = sandbox.dispute(pay(sandbox), inquiry=True)
    before = len(sandbox.events)
    assert sandbox.escalate_dispute(asked["id"])["status"] == "needs_response"
    assert dispute_events(sandbox, before) == ["updated", "funds_withdrawn"]
    asked = sandbox.dispute(pay(sandbox), inquiry=True)
    assert sandbox.close_dispute(asked["id"], won=False)["status"] == "lost"


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
