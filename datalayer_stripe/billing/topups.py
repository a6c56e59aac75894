"""Buying a package of credits: the PaymentIntent that asks for the money, and what it is worth."""

import hashlib
from contextlib import suppress
from datetime import timedelta

from pydantic import Field, ValidationError

from ..clock import Clock
from ..errors import (
    Conflict,
    InvalidRequest,
    Reject,
    StripeObjectMissing,
    StripeUnavailable,
    SubscriptionRequired,
)
from ..models import Identity, Model, Package, TopUp
from ..shapes import StripeData, id_of, metadata_of, whole_number
from ..store import Store
from ..store.open_top_ups import OpenTopUp
from ..stripe_client import StripeClient
from .catalog import Catalog
from .customers import Customers
from .subscriptions import Subscriptions

PAYMENT_SUCCEEDED = "payment_intent.succeeded"
"""The event that says that a PaymentIntent is paid."""

METADATA_KEYS = frozenset({"account_uid", "price_id", "credits"})
"""What we write into a PaymentIntent's metadata."""

OPEN_FOR = timedelta(minutes=15)
"""How long asking again for a package gives the PaymentIntent that waits for its payment."""

DISPUTED = (
    "A payment of this account is disputed. Credits can be bought again when that is decided."
)

# Not yet paid, or being paid: docs.stripe.com/payments/paymentintents/lifecycle.
_OPEN_STATUSES = frozenset(
    {"requires_payment_method", "requires_confirmation", "requires_action", "processing"}
)


class StartedTopUp(Model):
    """A PaymentIntent that waits for its card."""

    payment_intent_id: str
    client_secret: str = Field(repr=False)
    package: Package


class _Order(Model):
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

    def is_open(self, intent: StripeData) -> bool:
        """Whether a PaymentIntent waits for the payment of just this order."""
        return (
            intent.get("status") in _OPEN_STATUSES
            and intent.get("amount") == self.package.unit_amount
            and intent.get("currency") == self.package.currency
            and id_of(intent.get("customer")) == self.customer_id
            and self.metadata.items() <= metadata_of(intent).items()
        )


class TopUps:
    def __init__(
        self,
        store: Store,
        stripe: StripeClient,
        catalog: Catalog,
        customers: Customers,
        subscriptions: Subscriptions,
        clock: Clock,
        *,
        refuse_disputed: bool = False,
    ) -> None:
        self._store = store
        self._stripe = stripe
        self._catalog = catalog
        self._customers = customers
        self._subscriptions = subscriptions
        self._clock = clock
        self._refuse_disputed = refuse_disputed

    async def start(
        self, identity: Identity, price_id: str, idempotency_key: str | None
    ) -> StartedTopUp:
        """The PaymentIntent of a package, for what Stripe's price says.

        One that was made in the last minutes and waits for its payment is given again, so that
        two tabs end in one charge. With an `idempotency_key` that decides alone: the same key of
        the same account gives the same PaymentIntent, a new one a new one.
        Raises SubscriptionRequired, PriceNotFound, Conflict.
        """
        if not await self._subscriptions.may_buy(identity.account_uid):
            raise SubscriptionRequired
        if self._refuse_disputed and await self._store.reversals.has_open_dispute(
            identity.account_uid
        ):
            raise Conflict(DISPUTED)
        package = await self._catalog.package(price_id)
        order = _Order(
            account_uid=identity.account_uid,
            customer_id=await self._customers.ensure(identity),
            package=package,
        )
        if idempotency_key:
            intent = await self._create(order, idempotency_key)
        else:
            intent = await self._open_intent(order)
        return StartedTopUp(
            payment_intent_id=intent["id"], client_secret=intent["client_secret"], package=package
        )

    async def _open_intent(self, order: _Order) -> StripeData:
        open_top_ups, now = self._store.open_top_ups, self._clock()
        claim = await open_top_ups.claim(order.account_uid, order.package.id, now)
        if claim.created_at <= now - OPEN_FOR:
            claim = await open_top_ups.renew(claim, now)
        intent = await self._intent_of(claim, order)
        if not order.is_open(intent):
            intent = await self._intent_of(await open_top_ups.renew(claim, now), order)
        return intent

    async def _intent_of(self, claim: OpenTopUp, order: _Order) -> StripeData:
        """The PaymentIntent of a claim, made where it has none yet."""
        if claim.payment_intent_id is not None:
            with suppress(StripeObjectMissing):
                return await self._stripe.retrieve_payment_intent(claim.payment_intent_id)
        try:
            intent = await self._create(order, f"{claim.key} {order.terms}")
        except (InvalidRequest, StripeUnavailable):
            # Stripe repeats an answer for a day, also one that went wrong:
            # docs.stripe.com/api/idempotent_requests.
            await self._store.open_top_ups.drop(claim)
            raise
        await self._store.open_top_ups.assign(claim, intent["id"])
        return intent

    async def _create(self, order: _Order, key: str) -> StripeData:
        # A client's key is its own account's alone, and of any length.
        digest = hashlib.sha256(key.encode()).hexdigest()[:32]
        return await self._stripe.create_payment_intent(
            amount=order.package.unit_amount,
            currency=order.package.currency,
            customer_id=order.customer_id,
            description=f"{order.package.credits} credits",
            metadata=order.metadata,
            idempotency_key=f"topup-{order.account_uid}-{digest}",
        )

    async def from_payment_intent(self, intent: StripeData) -> TopUp | None:
        """What a succeeded PaymentIntent paid for; None when it is none of our business.

        Raises Reject, with the reason, when it carries our metadata and fails a check.
        """
        metadata = metadata_of(intent)
        if not is_ours(intent):
            return None
        top_up = _checked(intent, metadata)
        await self._check_customer(top_up, id_of(intent.get("customer")))
        return top_up

    async def _check_customer(self, top_up: TopUp, customer_id: str | None) -> None:
        known, owner = await self._store.customers.ties(top_up.account_uid, customer_id)
        if known is not None and known != customer_id:
            raise Reject(f"paid by {customer_id}, and the account's customer is {known}")
        if owner is not None and owner != top_up.account_uid:
            raise Reject(f"paid by {customer_id}, the customer of another account")


def is_ours(intent: StripeData) -> bool:
    """Whether a PaymentIntent is a top-up of ours, well or badly formed.

    Two of our three keys, since other systems on a shared Stripe account may well use one.
    """
    return len(METADATA_KEYS & metadata_of(intent).keys()) > 1


def _checked(intent: StripeData, metadata: StripeData) -> TopUp:
    missing = METADATA_KEYS - metadata.keys()
    if missing:
        raise Reject(f"metadata lacks {', '.join(sorted(missing))}")
    if intent.get("status") != "succeeded":
        raise Reject(f"status is {intent.get('status')}, not succeeded")
    if intent.get("amount_received") != intent.get("amount"):
        raise Reject(
            f"amount_received {intent.get('amount_received')} is not amount {intent.get('amount')}"
        )
    try:
        return TopUp.model_validate(
            {
                "payment_intent_id": intent.get("id"),
                "account_uid": metadata["account_uid"],
                "price_id": metadata["price_id"],
                "credits": whole_number(metadata["credits"]),
                "amount": intent.get("amount"),
                "currency": intent.get("currency"),
            }
        )
    except ValidationError as error:
        fields = {str(fault["loc"][0]) for fault in error.errors(include_input=False)}
        raise Reject(f"not a valid top-up: {', '.join(sorted(fields))}") from None
