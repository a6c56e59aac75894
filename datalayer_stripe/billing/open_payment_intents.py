"""An account's open_intent for a package: one PaymentIntent at a time that can be paid for it.

Two rules keep a person with two windows from paying twice, whoever crashes or races:

1. A client secret leaves here only after the open_intent's document names its PaymentIntent.
2. The document goes only when that PaymentIntent can be paid no more: it was cancelled, or paid and
   settled. Only then is another one made.
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
"""How long asking again for a package gives the PaymentIntent that waits for its payment."""

# docs.stripe.com/payments/paymentintents/lifecycle
_PAYABLE = frozenset({"requires_payment_method", "requires_confirmation", "requires_action"})
_PAID = frozenset({"processing", "succeeded"})

# One to find that a open_intent is over, one for the next; more only where others are as fast.
_MAX_ATTEMPTS = 5

_BOUGHT_CONCURRENTLY = "This package is being bought in another window, too. Please try again."


class Order(Model):
    """Who buys what."""

    account_uid: str
    customer_id: str
    package: Package

    @property
    def metadata(self) -> dict[str, str]:
        return top_up_metadata(
            account_uid=self.account_uid, price_id=self.package.id, credits=self.package.credits
        )

    @property
    def terms(self) -> str:
        """What a PaymentIntent of this order says: under one key Stripe takes one set of it."""
        package = self.package
        return f"{package.unit_amount} {package.currency} {package.credits} {self.customer_id}"

    def is_of(self, intent: StripeData) -> bool:
        """Whether a PaymentIntent asks for the money of just this order."""
        return (
            intent.get("amount") == self.package.unit_amount
            and intent.get("currency") == self.package.currency
            and id_of(intent.get("customer")) == self.customer_id
            and self.metadata.items() <= metadata_of(intent).items()
        )


class OpenPaymentIntents:
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

    async def payment_intent(self, order: Order) -> StripeData:
        """The PaymentIntent to pay for an order, as Stripe has it.

        One that waits for its payment is given again for :data:`REUSE_PERIOD`; an older one is
        cancelled before another is made. One that is being paid, or whose credits are still to
        come, is given whatever its age: nobody is to pay again before that is known.
        Raises Conflict where others ask at the same moment.
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
        """Return the PaymentIntent of the order that a client has asked for under its own key.

        The same key of the same account gives the same PaymentIntent.
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
            # Nobody has been given what Stripe may have made, and its key is about to expire.
            await open_payment_intents.forget(open_intent)
            return None
        try:
            key = _idempotency_key(order, f"{open_intent.key} {order.terms}")
            intent = await self._create_at_stripe(order, key)
        except StripeNoResponse:
            raise  # it may have been made: who asks again under this key gets it
        except (InvalidRequest, StripeUnavailable):
            # Stripe repeats an answer for a day, also one that went wrong:
            # docs.stripe.com/api/idempotent_requests.
            await open_payment_intents.forget(open_intent)
            raise
        return intent if await open_payment_intents.assign(open_intent, intent["id"], now) else None

    async def _reuse(
        self, open_intent: OpenPaymentIntent, order: Order, now: datetime
    ) -> StripeData | None:
        """Return the PaymentIntent if it can be paid or awaits its credits, else None."""
        intent_id = str(open_intent.payment_intent_id)
        if not await self._store.ledger.existing([intent_id]):
            try:
                intent: StripeData = await self._stripe.retrieve_payment_intent(intent_id)
                is_current = order.is_of(intent) and not _is_old(open_intent, now)
                if intent["status"] in _PAYABLE and not is_current:
                    intent = await self._cancel(intent_id)
                if intent["status"] in _PAYABLE or await self._is_awaiting_credits(intent):
                    return intent
            except StripeObjectMissing:
                pass  # what Stripe does not know cannot be paid
        await self._store.open_payment_intents.forget(open_intent)
        return None

    async def _cancel(self, intent_id: str) -> StripeData:
        """A PaymentIntent that can be paid no more: cancelled here, or paid a moment before."""
        try:
            # No key of our own making: a refusal of now must not be repeated later.
            key = f"cancel-{uuid.uuid4().hex}"
            return await self._stripe.cancel_payment_intent(intent_id, idempotency_key=key)
        except InvalidRequest:
            intent = await self._stripe.retrieve_payment_intent(intent_id)
            if intent["status"] in _PAYABLE:  # its payment has just failed
                raise Conflict(_BOUGHT_CONCURRENTLY) from None
            return intent

    async def _is_awaiting_credits(self, intent: StripeData) -> bool:
        """Whether it is being paid, or paid for credits that are still to come."""
        if intent["status"] not in _PAID:
            return False
        # An operator may decide on a rejected payment days later. Purchases do not wait for that.
        return not (await self._credit_statuses.of_payment(intent["id"])).is_rejected


def _idempotency_key(order: Order, key: str) -> str:
    # A client's key is its own account's alone, and of any length.
    digest = hashlib.sha256(key.encode()).hexdigest()[:32]
    return f"topup-{order.account_uid}-{digest}"


def _is_old(open_intent: OpenPaymentIntent, now: datetime) -> bool:
    return open_intent.since <= now - REUSE_PERIOD
