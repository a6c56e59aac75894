"""An account's wish for a package: one PaymentIntent at a time that can be paid for it.

Two rules keep a person with two windows from paying twice, whoever crashes or races:

1. A client secret leaves here only after the wish's document names its PaymentIntent.
2. The document goes only when that PaymentIntent can be paid no more: it was cancelled, or paid and
   settled. Only then is another one made.
"""

import hashlib
import uuid
from collections.abc import Collection
from datetime import datetime, timedelta

from ..clock import Clock
from ..errors import (
    Conflict,
    InvalidRequest,
    StripeObjectMissing,
    StripeSilent,
    StripeUnavailable,
)
from ..events import PAYMENT_SUCCEEDED
from ..models import Model, Package
from ..store import Store
from ..store.open_payment_intents import OpenTopUp
from ..stripe_api.client import StripeClient
from ..stripe_api.objects import StripeData, id_of, metadata_of
from .idempotency import IdempotentRequests

OPEN_FOR = timedelta(minutes=15)
"""How long asking again for a package gives the PaymentIntent that waits for its payment."""

# docs.stripe.com/payments/paymentintents/lifecycle
_PAYABLE = frozenset({"requires_payment_method", "requires_confirmation", "requires_action"})
_PAID = frozenset({"processing", "succeeded"})

# One to find that a wish is over, one for the next; more only where others are as fast.
_TURNS = 5

_ASKED_AT_ONCE = "This package is being bought in another window, too. Please try again."


class Order(Model):
    """Who buys what."""

    account_uid: str
    customer_id: str
    package: Package

    @property
    def metadata(self) -> dict[str, str]:
        return {
            "account_uid": self.account_uid,
            "price_id": self.package.id,
            "credits": str(self.package.credits),
        }

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


class Wishes:
    """`crediting` names the plugins that add credits for a payment."""

    def __init__(
        self,
        store: Store,
        stripe: StripeClient,
        clock: Clock,
        crediting: Collection[str],
        requests: IdempotentRequests,
    ) -> None:
        self._store = store
        self._stripe = stripe
        self._clock = clock
        self._crediting = crediting
        self._requests = requests

    async def payment_intent(self, order: Order) -> StripeData:
        """The PaymentIntent to pay for an order, as Stripe has it.

        One that waits for its payment is given again for :data:`OPEN_FOR`; an older one is
        cancelled before another is made. One that is being paid, or whose credits are still to
        come, is given whatever its age: nobody is to pay again before that is known.
        Raises Conflict where others ask at the same moment.
        """
        for _ in range(_TURNS):
            now = self._clock()
            wish = await self._store.open_top_ups.claim(order.account_uid, order.package.id, now)
            if wish.payment_intent_id is None:
                intent = await self._made(wish, order, now)
            else:
                intent = await self._given(wish, order, now)
            if intent is not None:
                return intent
        raise Conflict(_ASKED_AT_ONCE)

    async def create_for_client(self, order: Order, key: str) -> StripeData:
        """Return the PaymentIntent of the order that a client has asked for under its own key.

        The same key of the same account gives the same PaymentIntent.
        """
        return await self._requests.send(
            _idempotency_key(order, key), lambda current: self._create(order, current)
        )

    async def _create(self, order: Order, idempotency_key: str) -> StripeData:
        return await self._stripe.create_payment_intent(
            amount=order.package.unit_amount,
            currency=order.package.currency,
            customer_id=order.customer_id,
            description=f"{order.package.credits} credits",
            metadata=order.metadata,
            idempotency_key=idempotency_key,
        )

    async def _made(self, wish: OpenTopUp, order: Order, now: datetime) -> StripeData | None:
        """The PaymentIntent of a wish that has none yet; None where it is another wish by now."""
        open_top_ups = self._store.open_top_ups
        if _is_old(wish, now):
            # Nobody has been given what Stripe may have made, and its key is about to expire.
            await open_top_ups.forget(wish)
            return None
        try:
            key = _idempotency_key(order, f"{wish.key} {order.terms}")
            intent = await self._create(order, key)
        except StripeSilent:
            raise  # it may have been made: who asks again under this key gets it
        except (InvalidRequest, StripeUnavailable):
            # Stripe repeats an answer for a day, also one that went wrong:
            # docs.stripe.com/api/idempotent_requests.
            await open_top_ups.forget(wish)
            raise
        return intent if await open_top_ups.assign(wish, intent["id"], now) else None

    async def _given(self, wish: OpenTopUp, order: Order, now: datetime) -> StripeData | None:
        """The PaymentIntent of a wish, to be paid or to be told of; None where it is over."""
        intent_id = str(wish.payment_intent_id)
        if not await self._store.ledger.existing([intent_id]):
            try:
                intent: StripeData = await self._stripe.retrieve_payment_intent(intent_id)
                is_current = order.is_of(intent) and not _is_old(wish, now)
                if intent["status"] in _PAYABLE and not is_current:
                    intent = await self._cancelled(intent_id)
                if intent["status"] in _PAYABLE or await self._is_to_be_told(intent):
                    return intent
            except StripeObjectMissing:
                pass  # what Stripe does not know cannot be paid
        await self._store.open_top_ups.forget(wish)
        return None

    async def _cancelled(self, intent_id: str) -> StripeData:
        """A PaymentIntent that can be paid no more: cancelled here, or paid a moment before."""
        try:
            # No key of our own making: a refusal of now must not be repeated later.
            key = f"cancel-{uuid.uuid4().hex}"
            return await self._stripe.cancel_payment_intent(intent_id, idempotency_key=key)
        except InvalidRequest:
            intent = await self._stripe.retrieve_payment_intent(intent_id)
            if intent["status"] in _PAYABLE:  # its payment has just failed
                raise Conflict(_ASKED_AT_ONCE) from None
            return intent

    async def _is_to_be_told(self, intent: StripeData) -> bool:
        """Whether it is being paid, or paid for credits that are still to come."""
        if intent["status"] not in _PAID:
            return False
        kept = await self._store.events.of_object(intent["id"], PAYMENT_SUCCEEDED)
        # What waits for the operator can take days, and keeps nobody from buying.
        return kept is None or not kept.is_given_up(self._crediting)


def _idempotency_key(order: Order, key: str) -> str:
    # A client's key is its own account's alone, and of any length.
    digest = hashlib.sha256(key.encode()).hexdigest()[:32]
    return f"topup-{order.account_uid}-{digest}"


def _is_old(wish: OpenTopUp, now: datetime) -> bool:
    return wish.since <= now - OPEN_FOR
