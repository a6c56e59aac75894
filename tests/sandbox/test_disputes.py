"""Disputes and refunds that do not go through at once, through the stock SDK."""

import pytest
import stripe

from datalayer_stripe.sandbox import Sandbox, StripeError
from tests.sandbox.conftest import Http

DISPUTED_CARD = "4000000000000259"


def paid(sandbox: Sandbox, card: str = "pm_card_visa") -> str:
    intent = sandbox.call("POST", "/v1/payment_intents", amount=500, currency="usd")
    return str(sandbox.confirm_payment(intent["client_secret"], card)["id"])


def told(sandbox: Sandbox, since: int = 0) -> list[str]:
    return [event["type"].removeprefix("charge.dispute.") for event in sandbox.events[since:]]


@pytest.mark.gen_test
async def test_a_dispute_takes_the_money_and_gives_it_back_when_it_is_won(
    sandbox: Sandbox, client: stripe.StripeClient
) -> None:
    intent_id = paid(sandbox)
    before = len(sandbox.events)
    made = sandbox.dispute(intent_id)
    assert told(sandbox, before) == ["charge.updated", "created", "funds_withdrawn"]
    assert (made["amount"], made["status"]) == (500, "needs_response")
    assert sandbox.get(made["charge"])["disputed"]
    listed = await client.v1.disputes.list_async({"payment_intent": intent_id})
    assert [one.id for one in listed.data] == [made["id"]]
    kept = await client.v1.disputes.retrieve_async(made["id"], {"expand": ["charge"]})
    assert kept.charge.payment_intent == intent_id
    assert [one.amount for one in kept.balance_transactions] == [-500]

    before = len(sandbox.events)
    won = sandbox.close_dispute(made["id"], won=True)
    assert told(sandbox, before) == ["closed", "funds_reinstated"]
    assert won["status"] == "won"
    assert [one["amount"] for one in won["balance_transactions"]] == [-500, 500]
    with pytest.raises(StripeError, match="already won"):
        sandbox.close_dispute(made["id"], won=True)
    before = len(sandbox.events)
    assert sandbox.close_dispute(made["id"], won=False)["status"] == "lost"
    assert told(sandbox, before) == ["closed", "funds_withdrawn"], "a decision is overturned"


@pytest.mark.gen_test
async def test_dispute_is_for_what_has_not_been_refunded(sandbox: Sandbox) -> None:
    intent_id = paid(sandbox)
    sandbox.refund(intent_id, 200)
    made = sandbox.dispute(intent_id)
    assert made["amount"] == 300
    assert [one["amount"] for one in made["balance_transactions"]] == [-300]
    sandbox.close_dispute(made["id"], won=True)
    sandbox.refund(intent_id)
    assert sandbox.dispute(intent_id)["amount"] == 500, "a bank may be asked for all of it"


@pytest.mark.gen_test
async def test_refusals_name_amounts_as_money(sandbox: Sandbox) -> None:
    intent_id = paid(sandbox)
    sandbox.refund(intent_id, 100)
    with pytest.raises(StripeError, match=r"\(\$10\.00\) .* unrefunded amount .* \(\$4\.00\)"):
        sandbox.refund(intent_id, 1000)
    with pytest.raises(StripeError, match=r"at most \$5\.00"):
        sandbox.dispute(intent_id, 1000)


@pytest.mark.gen_test
async def test_a_lost_dispute_keeps_the_money(
    sandbox: Sandbox, client: stripe.StripeClient
) -> None:
    made = sandbox.dispute(paid(sandbox), amount=200)
    before = len(sandbox.events)
    lost = await client.v1.disputes.close_async(made["id"])
    assert (lost.status, lost.amount) == ("lost", 200)
    assert told(sandbox, before) == ["closed"]


@pytest.mark.gen_test
@pytest.mark.parametrize(
    ("evidence", "status"),
    [("winning_evidence", "won"), ("losing_evidence", "lost"), ("my word", "under_review")],
)
async def test_evidence_decides_in_test_mode(
    sandbox: Sandbox, client: stripe.StripeClient, evidence: str, status: str
) -> None:
    made = sandbox.dispute(paid(sandbox))
    text = {"uncategorized_text": evidence}
    draft = await client.v1.disputes.update_async(made["id"], {"evidence": text, "submit": False})
    assert draft.status == "needs_response"
    answered = await client.v1.disputes.update_async(made["id"], {"evidence": text})
    assert answered.status == status
    if status != "under_review":
        with pytest.raises(stripe.InvalidRequestError, match="too late"):
            await client.v1.disputes.update_async(made["id"], {"evidence": text})


@pytest.mark.gen_test
async def test_an_inquiry_takes_no_money_until_it_becomes_a_dispute(sandbox: Sandbox) -> None:
    asked = sandbox.dispute(paid(sandbox), inquiry=True)
    assert (asked["status"], asked["balance_transactions"]) == ("warning_needs_response", [])
    before = len(sandbox.events)
    closed = sandbox.close_dispute(asked["id"], won=True)
    assert (closed["status"], told(sandbox, before)) == ("warning_closed", ["closed"])
    with pytest.raises(StripeError, match="not an inquiry"):
        sandbox.escalate_dispute(asked["id"])
    with pytest.raises(StripeError, match="already warning_closed"):
        sandbox.close_dispute(asked["id"], won=False)

    asked = sandbox.dispute(paid(sandbox), inquiry=True)
    before = len(sandbox.events)
    assert sandbox.escalate_dispute(asked["id"])["status"] == "needs_response"
    assert told(sandbox, before) == ["updated", "funds_withdrawn"]
    asked = sandbox.dispute(paid(sandbox), inquiry=True)
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
async def test_a_card_that_disputes_by_itself(sandbox: Sandbox, card: str, status: str) -> None:
    intent_id = paid(sandbox, card)
    [dispute] = sandbox.call("GET", "/v1/disputes", payment_intent=intent_id)["data"]
    assert dispute["status"] == status
    types = told(sandbox)
    assert types.index("payment_intent.succeeded") < types.index("created")


@pytest.mark.gen_test
async def test_what_cannot_be_disputed(sandbox: Sandbox) -> None:
    open_intent = sandbox.call("POST", "/v1/payment_intents", amount=500, currency="usd")
    with pytest.raises(StripeError, match="not paid"):
        sandbox.dispute(open_intent["id"])
    with pytest.raises(StripeError, match=r"at most \$5\.00"):
        sandbox.dispute(paid(sandbox), amount=501)


@pytest.mark.gen_test
async def test_a_refund_that_fails_leaves_the_charge_as_it_was(sandbox: Sandbox) -> None:
    refund = sandbox.refund(paid(sandbox), 200)
    before = len(sandbox.events)
    failed = sandbox.settle_refund(refund["id"], fail=True)
    assert (failed["status"], failed["failure_reason"]) == ("failed", "lost_or_stolen_card")
    assert told(sandbox, before) == ["refund.updated", "charge.updated", "refund.failed"]
    assert sandbox.get(refund["charge"])["amount_refunded"] == 0
    for fail in (True, False):
        with pytest.raises(StripeError, match="already failed"):
            sandbox.settle_refund(refund["id"], fail=fail)


@pytest.mark.gen_test
async def test_a_refund_may_be_pending_for_a_while(sandbox: Sandbox, http: Http) -> None:
    refund = sandbox.refund(paid(sandbox, "pm_card_pendingRefund"))
    assert refund["status"] == "pending"
    before = len(sandbox.events)
    assert sandbox.settle_refund(refund["id"])["status"] == "succeeded"
    assert told(sandbox, before) == ["refund.updated", "refund.updated"]
    with pytest.raises(StripeError, match="already succeeded"):
        sandbox.settle_refund(refund["id"])
    late = sandbox.refund(paid(sandbox, "pm_card_pendingRefund"))
    assert sandbox.settle_refund(late["id"], fail=True)["status"] == "failed"


@pytest.mark.gen_test
async def test_the_panel_sees_the_disputes(sandbox: Sandbox, http: Http) -> None:
    made = sandbox.dispute(paid(sandbox))
    overview = await http("GET", "/sandbox/overview", key=None)
    assert made["id"].encode() in overview.body


@pytest.mark.gen_test
async def test_a_list_of_events_takes_twenty_types(client: stripe.StripeClient) -> None:
    types = [f"charge.of_type_{number}" for number in range(21)]
    await client.v1.events.list_async({"types": types[:20]})
    with pytest.raises(stripe.InvalidRequestError, match="up to 20"):
        await client.v1.events.list_async({"types": types})
