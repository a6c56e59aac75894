"""Process refunds and disputes that the ledger does not match, and that have no event any more."""

import uuid
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import NamedTuple

from ..clock import Clock
from ..events import DISPUTE_UPDATED, REFUND_UPDATED
from ..models import Reversal
from ..store import Store
from ..stripe_api.client import StripeClient
from ..stripe_api.objects import StripeData, dispute_reversal, payment_intent_id_of, refund_reversal
from .findings import EVENT_RETENTION, Reporter
from .redelivery import Redelivery, synthetic_event


class UnrecordedReversal(NamedTuple):
    """A refund or a dispute of a credited top-up that differs from the ledger.

    Attributes:
        data: The refund or the dispute.
        event_type: The type of the event that corrects the ledger.
        detail: The status and the top-up, for the operator.
        comparable: False if its currency differs from its payment's. Only an operator can decide
            how many credits such a reversal takes back.
    """

    data: StripeData
    event_type: str
    detail: str
    comparable: bool


_KINDS: dict[str, tuple[Callable[[StripeData], Reversal], str]] = {
    "refund": (refund_reversal, REFUND_UPDATED),
    "dispute": (dispute_reversal, DISPUTE_UPDATED),
}


class ReversalSweep:
    """Sweep of the refunds and disputes that are older than Stripe's events.

    The event sweep covers the younger ones.

    Args:
        store: The database.
        stripe: The client of Stripe's API.
        clock: Returns the present time.
        redelivery: Processes the events of the refunds and disputes.
        reporter: Gets the findings.
        livemode: The mode of the service. A refund does not contain its mode.
    """

    def __init__(
        self,
        store: Store,
        stripe: StripeClient,
        clock: Clock,
        redelivery: Redelivery,
        reporter: Reporter,
        *,
        livemode: bool,
    ) -> None:
        self._store = store
        self._stripe = stripe
        self._clock = clock
        self._redelivery = redelivery
        self._reporter = reporter
        self._livemode = livemode

    async def run(self, since: datetime) -> None:
        """Process the refunds and disputes created since then, if any is older than the events."""
        before = self._clock() - EVENT_RETENTION
        if since >= before:
            return
        for kind, pages in (
            ("refund", self._stripe.refund_pages(created_since=since, created_before=before)),
            ("dispute", self._stripe.dispute_pages(created_since=since, created_before=before)),
        ):
            async for page in self._reporter.track(kind, pages):
                for found in await unrecorded_reversals(self._store, page):
                    await self._process(kind, found)

    async def _process(self, kind: str, found: UnrecordedReversal) -> None:
        if not found.comparable:
            self._reporter.report.rejected += 1
            return
        object_id = found.data["id"]
        event_id = f"reconciled-{object_id}-{uuid.uuid4().hex[:8]}"
        data = {"livemode": self._livemode, **found.data}
        event = synthetic_event(event_id, found.event_type, data)
        await self._redelivery.redeliver(kind, object_id, found.detail, event, {})


async def unrecorded_reversals(
    store: Store, page: Sequence[StripeData]
) -> list[UnrecordedReversal]:
    """Return the refunds or disputes of a page whose amount or state differs from the ledger.

    Args:
        store: The database.
        page: Refunds or disputes, as Stripe lists them.
    """
    payment_of = {data["id"]: payment_intent_id_of(data) for data in page}
    top_ups = await store.reversals.by_payments([one for one in payment_of.values() if one])
    found = []
    for data in page:
        reversal_of, event_type = _KINDS[data["object"]]
        reversal, top_up = reversal_of(data), top_ups.get(payment_of[data["id"]] or "")
        if top_up is None:
            continue  # Another system's payment, or a top-up that the payment sweep credits.
        recorded = top_up.reversals.get(reversal.id)
        is_recorded = reversal.amount == (recorded.amount if recorded else 0)
        if not is_recorded or reversal.is_open is not (reversal.id in top_up.open_disputes):
            detail = f"{data['status']}, of {top_up.entry.id}"
            comparable = reversal.incomparable_with(top_up.entry) is None
            found.append(UnrecordedReversal(data, event_type, detail, comparable))
    return found
