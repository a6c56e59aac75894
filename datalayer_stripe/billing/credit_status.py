"""State of a payment's credits: credited, pending, rejected or unrecorded.

Two documents determine the state: the payment's row in the ledger, and the record of its
`payment_intent.succeeded` event.
"""

from collections.abc import Collection
from enum import Enum

from ..events import PAYMENT_SUCCEEDED
from ..models import LedgerEntry, Model
from ..store import Store
from ..store.event_records import EventRecord


class CreditState(Enum):
    """What happened to the credits of a payment."""

    CREDITED = "credited"
    """The ledger has the payment's row."""
    PENDING = "pending"
    """A plugin that adds credits has not finished, or the event has not arrived."""
    REJECTED = "rejected"
    """A plugin rejected the payment. The credits are added only after an operator acts."""
    UNRECORDED = "unrecorded"
    """All plugins that add credits have finished the event, and the ledger has no row."""


class CreditStatus(Model):
    """State of a payment's credits, and the documents that determine it.

    `event` is the record of the payment's event; None if it has not arrived. `entry` is the row
    of the ledger; None unless the state is CREDITED.
    """

    state: CreditState
    event: EventRecord | None = None
    entry: LedgerEntry | None = None

    @property
    def is_credited(self) -> bool:
        """Whether the credits are in the ledger."""
        return self.state is CreditState.CREDITED

    @property
    def is_rejected(self) -> bool:
        """Whether the credits are added only after an operator acts."""
        return self.state is CreditState.REJECTED

    @property
    def is_unrecorded(self) -> bool:
        """Whether the event is done and the ledger has no row."""
        return self.state is CreditState.UNRECORDED


class CreditStatuses:
    """Reader of the state of payments' credits.

    Args:
        store: The database.
        crediting: The names of the plugins that add credits for a payment.
    """

    def __init__(self, store: Store, crediting: Collection[str]) -> None:
        self._store = store
        self._crediting = frozenset(crediting)

    async def of_payment(self, payment_intent_id: str) -> CreditStatus:
        """Return the state of a payment's credits.

        Args:
            payment_intent_id: The PaymentIntent's id, `pi_…`.
        """
        # The event is read first. Its mark and the row are committed together, so a row that is
        # missing after the event was done is really missing.
        event = await self._store.events.of_object(payment_intent_id, PAYMENT_SUCCEEDED)
        entry = (await self._store.ledger.by_ids([payment_intent_id])).get(payment_intent_id)
        if entry is not None:
            return CreditStatus(state=CreditState.CREDITED, event=event, entry=entry)
        return self.without_entry(event)

    def without_entry(self, event: EventRecord | None) -> CreditStatus:
        """Return the state of a payment that has no row in the ledger.

        Args:
            event: The record of the payment's event; None if it has not arrived.
        """
        if event is None:
            state = CreditState.PENDING
        elif event.is_rejected_by(self._crediting):
            state = CreditState.REJECTED
        elif event.is_done(self._crediting):
            state = CreditState.UNRECORDED
        else:
            state = CreditState.PENDING
        return CreditStatus(state=state, event=event)
