"""Refunds and disputes: what they hold back of a top-up's payment, as Stripe says now."""

import asyncio
import logging
from collections.abc import Sequence

from ..errors import Reject, Retry, StripeObjectMissing
from ..models import LedgerEntry, Model, Reversal
from ..store import Store
from ..stripe_api.client import StripeClient
from ..stripe_api.objects import (
    StripeData,
    dispute_reversal,
    payment_intent_id_of,
    refund_reversal,
)
from .credit_status import CreditStatuses
from .metadata import is_ours

logger = logging.getLogger(__name__)

_LISTED = frozenset({"refund", "dispute"})


class Look(Model):
    """What was seen at Stripe under a ticket: all refunds and disputes, oldest first of each."""

    payment_intent_id: str
    ticket: int
    reversals: tuple[Reversal, ...]


class Reversals:
    def __init__(self, store: Store, stripe: StripeClient, credit_statuses: CreditStatuses) -> None:
        self._store = store
        self._stripe = stripe
        self._credit_statuses = credit_statuses

    async def look(self, data: StripeData) -> Look | None:
        """Look at the payment that a charge, a refund or a dispute names; None if it is not ours.

        A refund or dispute in another currency than the payment is skipped and logged; the others
        are followed. Raises Retry while its credits are not there yet, or the refund or dispute
        itself is not listed, and Reject where the credits never will be, or `data` is itself the
        one in another currency.
        """
        payment_intent_id = payment_intent_id_of(data)
        if payment_intent_id is None:
            return None  # paid without a PaymentIntent, and so not for us
        # The ticket before the look, as for subscriptions: a look that began later knows more.
        taken = await self._store.reversals.take_ticket(payment_intent_id)
        if taken is None:
            await self._check_uncredited(payment_intent_id)
            return None
        entry, ticket = taken
        reversals = await self.listed(payment_intent_id)
        check_listed(data, reversals)
        return Look(
            payment_intent_id=payment_intent_id,
            ticket=ticket,
            reversals=comparable(data, reversals, entry),
        )

    async def listed(self, payment_intent_id: str) -> tuple[Reversal, ...]:
        """Return all refunds and disputes of a payment as Stripe lists them, oldest first."""
        refunds, disputes = await asyncio.gather(
            self._stripe.list_refunds(payment_intent_id),
            self._stripe.list_disputes(payment_intent_id),
        )
        return (
            *map(refund_reversal, reversed(refunds)),
            *map(dispute_reversal, reversed(disputes)),
        )

    async def _check_uncredited(self, payment_intent_id: str) -> None:
        """Return where a payment that has no ledger row is another system's."""
        try:
            intent = await self._stripe.retrieve_payment_intent(payment_intent_id)
        except StripeObjectMissing:
            return
        if not is_ours(intent):
            return
        status = await self._credit_statuses.of_payment(payment_intent_id)
        if status.is_rejected and status.event is not None:
            raise Reject(f"the top-up was rejected: see {status.event.id}")
        raise Retry(f"not credited yet: {payment_intent_id}")


def check_listed(data: StripeData, reversals: Sequence[Reversal]) -> None:
    """Raises Retry where Stripe's lists are behind what its event tells of."""
    if data.get("object") in _LISTED and data["id"] not in {one.id for one in reversals}:
        raise Retry(f"not listed by Stripe yet: {data['id']}")


def comparable(
    data: StripeData, reversals: Sequence[Reversal], entry: LedgerEntry
) -> tuple[Reversal, ...]:
    """Return those whose amount can be compared with what was paid; log the others.

    Raises Reject when `data` is one of the others: its own event is what an operator looks at.
    """
    kept = []
    for reversal in reversals:
        reason = reversal.incomparable_with(entry)
        if reason is None:
            kept.append(reversal)
        elif reversal.id == data.get("id"):
            raise Reject(reason)
        else:
            logger.warning("reversal skipped", extra={"reason": reason})
    return tuple(kept)
