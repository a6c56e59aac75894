"""Keep at most one payable PaymentIntent per account and package.

Two rules prevent that a person with two browser windows pays twice, even if requests race or a
process crashes:

1. A client secret is returned only after the database names its PaymentIntent.
2. The document is deleted only when the PaymentIntent cannot be paid any more: it was cancelled,
   or paid and settled. Only then is another PaymentIntent created.
"""

import hashlib
import uuid
from datetime import datetime, timedelta

from ..clock import Clock
from ..errors import (
    Conflict,
    InvalidRequest,
    StripeNoResponse,
    StripeObjectMissing,
    StripeUnavailable,
)
from ..models import Model, Package
from ..store import Store
from ..store.open_payment_intents import OpenPaymentIntent
from ..stripe_api.client import StripeClient
from ..stripe_api.objects import StripeData, id_of, metadata_of
from .credit_status import CreditStatuses
from .idempotency import IdempotentRequests
from .metadata import top_up_metadata

REUSE_PERIOD = timedelta(minutes=15)
"""How long an unpaid PaymentIntent is returned again for the same package."""

# https://docs.stripe.com/payments/paymentintents/lifecycle
_PAYABLE = frozenset({"requires_payment_method", "requires_confirmation", "requires_action"})
_PAID = frozenset({"processing", "succeeded"})

# Two attempts are enough without concurrent requests: one finds that the last PaymentIntent is
# settled, and the next creates a new one.
_MAX_ATTEMPTS = 5

_BOUGHT_CONCURRENTLY = "This package is also being bought in another window. Please try again."


class Order(Model):
    """A package, and the account and customer that buy it."""

    account_uid: str
    customer_id: str
    package: Package

    @property
    def metadata(self) -> dict[str, str]:
        """The metadata of the order's PaymentIntent."""
        return top_up_metadata(
            account_uid=self.account_uid, price_id=self.package.id, credits=self.package.credits
        )

    @property
    def fingerprint(self) -> str:
        """The parameters of the PaymentIntent. Stripe accepts one set of them for each key."""
        package = self.package
        return f"{package.unit_amount} {package.currency} {package.credits} {self.customer_id}"

    def matches(self, intent: StripeData) -> bool:
        """Return whether a PaymentIntent has the parameters of this order.

        Args:
            intent: The PaymentIntent.
        """
        return (
            intent.get("amount") == self.package.unit_amount
            and intent.get("currency") == self.package.currency
            and id_of(intent.get("customer")) == self.customer_id
            and self.metadata.items() <= metadata_of(intent).items()
        )


class OpenPaymentIntents:
    """Creates and reuses the PaymentIntents of top-ups.

    Args:
        store: The database.
        stripe: The client of Stripe's API.
        clock: Returns the present time.
        credit_statuses: Says whether the credits of a payment were rejected.
        requests: Sends the requests that clients give their own idempotency key.
    """

    def __init__(
        self,
        store: Store,
        stripe: StripeClient,
        clock: Clock,
        credit_statuses: CreditStatuses,
        requests: IdempotentRequests,
    ) -> None:
        self._store = store
        self._stripe = stripe
        self._clock = clock
        self._credit_statuses = credit_statuses
        self._requests = requests

    async def get_or_create(self, order: Order) -> StripeData:
        """Return the PaymentIntent to pay for an order, as Stripe has it now.

        An unpaid one is returned again for :data:`REUSE_PERIOD`. An older one is cancelled before
        another is created. One that is being paid, or whose credits are not added yet, is
        returned at any age, so that nobody pays again before its result is known.

        Args:
            order: What is bought, and by whom.

        Raises:
            Conflict: Concurrent requests buy the same package.
        """
        for _ in range(_MAX_ATTEMPTS):
            now = self._clock()
            open_intent = await self._store.open_payment_intents.claim(
                order.account_uid, order.package.id, now
            )
            if open_intent.payment_intent_id is None:
                intent = await self._create(open_intent, order, now)
            else:
                intent = await self._reuse(open_intent, order, now)
            if intent is not None:
                return intent
        raise Conflict(_BOUGHT_CONCURRENTLY)

    async def create_for_client(self, order: Order, key: str) -> StripeData:
        """Return the PaymentIntent that a client requested with its own idempotency key.

        The same key of the same account returns the same PaymentIntent.

        Args:
            order: What is bought, and by whom.
            key: The client's idempotency key, of any length.

        Raises:
            IdempotencyKeyReused: The key was used for another order.
        """
        return await self._requests.send(
            _idempotency_key(order, key), lambda current: self._create_at_stripe(order, current)
        )

    async def _create_at_stripe(self, order: Order, idempotency_key: str) -> StripeData:
        return await self._stripe.create_payment_intent(
            amount=order.package.unit_amount,
            currency=order.package.currency,
            customer_id=order.customer_id,
            description=f"{order.package.credits} credits",
            metadata=order.metadata,
            idempotency_key=idempotency_key,
        )

    async def _create(
        self, open_intent: OpenPaymentIntent, order: Order, now: datetime
    ) -> StripeData | None:
        """Create the PaymentIntent of a claim; return None if the claim was replaced meanwhile."""
        open_payment_intents = self._store.open_payment_intents
        if _is_old(open_intent, now):
            # The claim's key is about to expire at Stripe. No client has received what Stripe may
            # have created with it.
            await open_payment_intents.delete(open_intent)
            return None
        try:
            key = _idempotency_key(order, f"{open_intent.key} {order.fingerprint}")
            intent = await self._create_at_stripe(order, key)
        except StripeNoResponse:
            raise  # Stripe may have created it. A retry with the same key returns it.
        except (InvalidRequest, StripeUnavailable):
            # Stripe repeats its answer to a key for a day, including errors:
            # https://docs.stripe.com/api/idempotent_requests.
            await open_payment_intents.delete(open_intent)
            raise
        return intent if await open_payment_intents.assign(open_intent, intent["id"], now) else None

    async def _reuse(
        self, open_intent: OpenPaymentIntent, order: Order, now: datetime
    ) -> StripeData | None:
        """Return the PaymentIntent if it can be paid or awaits its credits, else None."""
        intent_id = str(open_intent.payment_intent_id)
        if not await self._store.ledger.existing_ids([intent_id]):
            try:
                intent: StripeData = await self._stripe.retrieve_payment_intent(intent_id)
                is_current = order.matches(intent) and not _is_old(open_intent, now)
                if intent["status"] in _PAYABLE and not is_current:
                    intent = await self._cancel(intent_id)
                if intent["status"] in _PAYABLE or await self._is_awaiting_credits(intent):
                    return intent
            except StripeObjectMissing:
                pass  # a PaymentIntent that Stripe does not have cannot be paid
        await self._store.open_payment_intents.delete(open_intent)
        return None

    async def _cancel(self, intent_id: str) -> StripeData:
        """Return a PaymentIntent that cannot be paid any more: cancelled, or paid just before.

        Raises:
            Conflict: A payment was being processed, and has failed.
        """
        try:
            # The key is random, so that Stripe does not repeat a refusal later.
            key = f"cancel-{uuid.uuid4().hex}"
            return await self._stripe.cancel_payment_intent(intent_id, idempotency_key=key)
        except InvalidRequest:
            intent = await self._stripe.retrieve_payment_intent(intent_id)
            if intent["status"] in _PAYABLE:
                raise Conflict(_BOUGHT_CONCURRENTLY) from None
            return intent

    async def _is_awaiting_credits(self, intent: StripeData) -> bool:
        """Return whether it is being paid, or is paid and its credits are not added yet."""
        if intent["status"] not in _PAID:
            return False
        # An operator may decide on a rejected payment days later. Purchases do not wait for that.
        return not (await self._credit_statuses.of_payment(intent["id"])).is_rejected


def _idempotency_key(order: Order, key: str) -> str:
    # Two accounts may use the same key. The digest limits the length.
    digest = hashlib.sha256(key.encode()).hexdigest()[:32]
    return f"topup-{order.account_uid}-{digest}"


def _is_old(open_intent: OpenPaymentIntent, now: datetime) -> bool:
    return open_intent.since <= now - REUSE_PERIOD
