"""Refunds and disputes that the ledger does not follow: found by the objects themselves."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

from .models import Reversal
from .shapes import StripeData, dispute_reversal, payment_intent_id_of, refund_reversal
from .store import Store


class Overlooked(NamedTuple):
    """A refund or a dispute of a credited top-up, the event to heal it with, and what differs."""

    data: StripeData
    event_type: str
    detail: str


_KINDS: dict[str, tuple[Callable[[StripeData], Reversal], str]] = {
    "refund": (refund_reversal, "refund.updated"),
    "dispute": (dispute_reversal, "charge.dispute.updated"),
}


async def overlooked(store: Store, page: Sequence[StripeData]) -> list[Overlooked]:
    """Those of a page of Stripe's list whose amount is not what the ledger holds back."""
    payment_of = {data["id"]: payment_intent_id_of(data) for data in page}
    top_ups = await store.reversals.by_payments([one for one in payment_of.values() if one])
    found = []
    for data in page:
        reversal_of, event_type = _KINDS[data["object"]]
        reversal, top_up = reversal_of(data), top_ups.get(payment_of[data["id"]] or "")
        if top_up is None:
            continue  # another system's, or not credited: that is the payments' sweep's
        kept = top_up.reversals.get(reversal.id)
        if reversal.amount != (kept.amount if kept else 0):
            detail = f"{data['status']}, of {top_up.entry.id}"
            found.append(Overlooked(data, event_type, detail))
    return found
