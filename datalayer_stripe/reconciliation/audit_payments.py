"""Compare a payment at Stripe with its ledger rows."""

from collections.abc import Sequence
from typing import Any

from pydantic import ValidationError

from ..billing.metadata import is_ours, read_top_up_metadata
from ..models import LedgerEntry, TopUp
from ..store.corrections import ExpectedPayment, expected_sums, sums_of
from ..stripe_api.objects import StripeData


def expected_top_up(intent: StripeData | None, row: LedgerEntry | None) -> TopUp | None:
    """Return the top-up that a payment should have in the ledger.

    Account and credits come from Stripe's metadata. For a payment that an operator has accepted,
    they come from the operator's decision. What neither contains is taken from the row.

    Args:
        intent: The PaymentIntent; None if Stripe does not have it.
        row: The ledger row of the top-up; None if there is none.

    Returns:
        The top-up, or None if the payment has bought nothing.
    """
    accepted = row.accepted if row else None
    if intent is None or intent["status"] != "succeeded" or not (accepted or is_ours(intent)):
        return None
    metadata = read_top_up_metadata(intent)
    fields: dict[str, Any] = {
        "account_uid": metadata.account_uid or (row and row.account_uid),
        "credits": metadata.credits or (row and row.credits),
        "price_id": metadata.price_id or (row and row.price_id) or "",
        **(accepted.model_dump() if accepted else {}),
        "payment_intent_id": intent["id"],
        "amount": intent["amount_received"],
        "currency": intent["currency"],
    }
    try:
        return TopUp.model_validate(fields)
    except ValidationError:
        return None


def mismatch(payment_id: str, intent: StripeData | None, rows: Sequence[LedgerEntry]) -> str | None:
    """Return how a payment differs from the rows of its top-up, for the operator.

    Args:
        payment_id: The PaymentIntent's id.
        intent: The PaymentIntent; None if Stripe does not have it.
        rows: The row of the top-up, and the corrections of the payment.

    Returns:
        The explanation, or None if nothing differs.
    """
    row = next((one for one in rows if one.id == payment_id), None)
    top_up = expected_top_up(intent, row)
    expected = expected_sums(ExpectedPayment(payment_intent_id=payment_id, top_up=top_up))
    sums = sums_of(payment_id, rows)
    if (sums.credits, sums.amounts) == (expected.credits, expected.amounts):
        return None
    if top_up is None or row is None or len(rows) > 1:
        credits = sum(sums.credits.values())
        if intent is None:
            return f"the ledger has {credits} credits, but Stripe has no such payment"
        at_stripe = f"{top_up.credits} credits for {top_up.account_uid}" if top_up else "none"
        return f"the ledger has {credits} credits, Stripe {at_stripe} (status {intent['status']})"
    differences = (
        f"{name}: ledger {getattr(row, name)}, Stripe {getattr(top_up, name)}"
        for name in ("account_uid", "credits", "amount", "currency")
        if getattr(row, name) != getattr(top_up, name)
    )
    return "; ".join(differences)
