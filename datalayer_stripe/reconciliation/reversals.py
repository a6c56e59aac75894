"""Refunds and disputes that the ledger does not follow: found by the objects themselves."""

from collections.abc import Callable, Collection, Sequence
from datetime import timedelta
from typing import NamedTuple

from ..events import PAYMENT_SUCCEEDED, Event
from ..models import Reversal
from ..store import Store
from ..stripe_api.objects import StripeData, dispute_reversal, payment_intent_id_of, refund_reversal
from .customers import rejected_for_its_customer


class UnrecordedReversal(NamedTuple):
    """A refund or a dispute of a credited top-up, the event to heal it with, and what differs.

    One that is not `comparable` is in another currency than its payment: only an operator can
    heal it.
    """

    data: StripeData
    event_type: str
    detail: str
    comparable: bool


_KINDS: dict[str, tuple[Callable[[StripeData], Reversal], str]] = {
    "refund": (refund_reversal, "refund.updated"),
    "dispute": (dispute_reversal, "charge.dispute.updated"),
}


async def unrecorded_reversals(
    store: Store, page: Sequence[StripeData]
) -> list[UnrecordedReversal]:
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
        followed = reversal.amount == (kept.amount if kept else 0)
        if not followed or reversal.is_open is not (reversal.id in top_up.open_disputes):
            detail = f"{data['status']}, of {top_up.entry.id}"
            comparable = reversal.incomparable_with(top_up.entry) is None
            found.append(UnrecordedReversal(data, event_type, detail, comparable))
    return found


# A run may have begun before the credits were there, and have ended after it.
_MAX_RUN = timedelta(minutes=5)


async def rejected_too_soon(store: Store, event: Event, plugin_names: Collection[str]) -> bool:
    """Return whether these plugins have rejected it for want of something that is there by now.

    For a refund or a dispute that is its top-up; for a payment, whose customer has paid.
    """
    if event.type == PAYMENT_SUCCEEDED:
        return await rejected_for_its_customer(store, event, plugin_names)
    payment_intent_id = payment_intent_id_of(event.object)
    if payment_intent_id is None:
        return False
    top_up = (await store.ledger.by_ids([payment_intent_id])).get(payment_intent_id)
    kept = await store.events.get(event.id)
    if top_up is None or kept is None:
        return False
    runs = [kept.handlers[name] for name in plugin_names if name in kept.handlers]
    return any(run.at < top_up.created_at + _MAX_RUN for run in runs)
