"""Compare a payment at Stripe with its ledger rows."""

from collections.abc import Sequence
from typing import Any

from pydantic import ValidationError

from ..billing.metadata import is_ours, read_top_up_metadata
from ..models import LedgerEntry, TopUp
from ..store.corrections import Due, sums_due, sums_of
from ..stripe_api.objects import StripeData


def bought(intent: StripeData | None, row: LedgerEntry | None) -> TopUp | None:
    """Return what a payment has bought, or None for one that has bought nothing.

    Account and credits are those of Stripe's metadata. Where an operator has accepted the payment,
    they are what was decided then. What two of our three keys do not say is as in the row.

    Args:
        intent: the PaymentIntent; None where Stripe does not have it.
        row: the ledger row of the top-up, if there is one.
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
    """Return what a payment and the rows of its top-up disagree on, in words, or None."""
    row = next((one for one in rows if one.id == payment_id), None)
    top_up = bought(intent, row)
    due = sums_due(Due(payment_intent_id=payment_id, top_up=top_up))
    now = sums_of(payment_id, rows)
    if (now.credits, now.amounts) == (due.credits, due.amounts):
        return None
    if top_up is None or row is None or len(rows) > 1:
        credits = sum(now.credits.values())
        if intent is None:
            return f"{credits} credits, and Stripe has no such payment"
        worth = f"{top_up.credits} credits for {top_up.account_uid}" if top_up else "none"
        return f"{credits} credits in its rows, and at Stripe {worth} (status {intent['status']})"
    different = (
        f"{name}: ledger {getattr(row, name)}, Stripe {getattr(top_up, name)}"
        for name in ("account_uid", "credits", "amount", "currency")
        if getattr(row, name) != getattr(top_up, name)
    )
    return "; ".join(different)
