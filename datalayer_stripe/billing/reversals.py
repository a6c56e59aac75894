"""Fetch the refunds and disputes of a top-up's payment from Stripe."""

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

_REVERSAL_OBJECTS = frozenset({"refund", "dispute"})


class FetchedReversals(Model):
    """All refunds and disputes of a payment, oldest first of each kind.

    `ticket` was taken before they were fetched: a later ticket means more recent data.
    """

    payment_intent_id: str
    ticket: int
    reversals: tuple[Reversal, ...]


class Reversals:
    """Reader of refunds and disputes.

    Args:
        store: The database.
        stripe: The client of Stripe's API.
        credit_statuses: Says whether the credits of a payment were rejected.
    """

    def __init__(self, store: Store, stripe: StripeClient, credit_statuses: CreditStatuses) -> None:
        self._store = store
        self._stripe = stripe
        self._credit_statuses = credit_statuses

    async def fetch(self, data: StripeData) -> FetchedReversals | None:
        """Fetch all refunds and disputes of a payment.

        Those in another currency than the payment are logged and left out.

        Args:
            data: A charge, a refund or a dispute of the payment, as Stripe sends it.

        Returns:
            None for a payment of another system on a shared Stripe account.

        Raises:
            Retry: The credits are not added yet, or Stripe does not list `data` yet.
            Reject: The credits were rejected, or `data` is in another currency than its payment.
        """
        payment_intent_id = payment_intent_id_of(data)
        if payment_intent_id is None:
            return None  # all top-ups are paid with a PaymentIntent
        # The ticket is taken before the lists are read, so that the latest ticket has the most
        # recent data.
        taken = await self._store.reversals.take_ticket(payment_intent_id)
        if taken is None:
            await self._check_uncredited(payment_intent_id)
            return None
        entry, ticket = taken
        reversals = await self.list_for_payment(payment_intent_id)
        _require_listed(data, reversals)
        return FetchedReversals(
            payment_intent_id=payment_intent_id,
            ticket=ticket,
            reversals=_in_currency_of(entry, reversals, data),
        )

    async def list_for_payment(self, payment_intent_id: str) -> tuple[Reversal, ...]:
        """Return all refunds and disputes of a payment, oldest first of each kind.

        Args:
            payment_intent_id: The PaymentIntent, `pi_…`.
        """
        refunds, disputes = await asyncio.gather(
            self._stripe.list_refunds(payment_intent_id),
            self._stripe.list_disputes(payment_intent_id),
        )
        return (
            *map(refund_reversal, reversed(refunds)),
            *map(dispute_reversal, reversed(disputes)),
        )

    async def _check_uncredited(self, payment_intent_id: str) -> None:
        """Raise Retry or Reject if a payment without a ledger row is a top-up."""
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


def _require_listed(data: StripeData, reversals: Sequence[Reversal]) -> None:
    """Raise Retry if Stripe's lists do not contain the refund or dispute of the event yet."""
    is_reversal = data.get("object") in _REVERSAL_OBJECTS
    if is_reversal and data["id"] not in {reversal.id for reversal in reversals}:
        raise Retry(f"not listed by Stripe yet: {data['id']}")


def _in_currency_of(
    entry: LedgerEntry, reversals: Sequence[Reversal], data: StripeData
) -> tuple[Reversal, ...]:
    """Return the reversals in the payment's currency; log the others.

    Raises:
        Reject: `data` is one of the others. Its own event shows the operator the problem.
    """
    selected = []
    for reversal in reversals:
        reason = reversal.incomparable_with(entry)
        if reason is None:
            selected.append(reversal)
        elif reversal.id == data.get("id"):
            raise Reject(reason)
        else:
            logger.warning("reversal skipped", extra={"reason": reason})
    return tuple(selected)
