"""Buying a package of credits: the PaymentIntent that asks for the money, and what it is worth."""

from pydantic import Field, ValidationError

from ..errors import Conflict, Reject, StripeObjectMissing, SubscriptionRequired
from ..models import Identity, Model, Package, TopUp
from ..store import Store
from ..stripe_api.client import StripeClient
from ..stripe_api.objects import StripeData, id_of, metadata_of, payment_intent_id_of, whole_number
from .catalog import Catalog
from .customers import Customers
from .open_payment_intents import OpenPaymentIntents, Order
from .subscriptions import Subscriptions

METADATA_KEYS = frozenset({"account_uid", "price_id", "credits"})
"""What we write into a PaymentIntent's metadata."""

PAID_BY = "paid by"
"""What the reason begins with where a payment is rejected for its customer."""

DISPUTED = (
    "A payment of this account is disputed. Credits can be bought again when that is decided."
)


class StartedTopUp(Model):
    """A PaymentIntent that waits for its card."""

    payment_intent_id: str
    client_secret: str = Field(repr=False)
    package: Package


class TopUps:
    def __init__(
        self,
        store: Store,
        stripe: StripeClient,
        catalog: Catalog,
        customers: Customers,
        subscriptions: Subscriptions,
        open_payment_intents: OpenPaymentIntents,
        *,
        refuse_disputed: bool = False,
    ) -> None:
        self._store = store
        self._stripe = stripe
        self._catalog = catalog
        self._customers = customers
        self._subscriptions = subscriptions
        self._open_payment_intents = open_payment_intents
        self._refuse_disputed = refuse_disputed

    async def start(
        self, identity: Identity, price_id: str, idempotency_key: str | None
    ) -> StartedTopUp:
        """The PaymentIntent of a package, for what Stripe's price says.

        One that was given in the last minutes and waits for its payment is given again, so that
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

        async def payment_intent(customer_id: str) -> StripeData:
            order = Order(
                account_uid=identity.account_uid, customer_id=customer_id, package=package
            )
            if idempotency_key:
                return await self._open_payment_intents.create_for_client(order, idempotency_key)
            return await self._open_payment_intents.payment_intent(order)

        intent = await self._customers.using(identity, payment_intent)
        return StartedTopUp(
            payment_intent_id=intent["id"], client_secret=intent["client_secret"], package=package
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

    async def of(self, data: StripeData) -> TopUp | None:
        """Return the top-up whose payment a Stripe object is about.

        It is read from the ledger or, where the credits have not been added yet, from Stripe.

        Args:
            data: A PaymentIntent, or what names one: a charge, a refund or a dispute.

        Returns:
            None where the object is about no payment, another system's, or one that is not paid.

        Raises:
            Reject: The payment carries our metadata and fails a check.
        """
        is_payment = data.get("object") == "payment_intent"
        intent_id = id_of(data) if is_payment else payment_intent_id_of(data)
        if intent_id is None:
            return None
        entry = (await self._store.ledger.by_ids([intent_id])).get(intent_id)
        if entry is not None:
            return TopUp.model_validate({**entry.model_dump(), "payment_intent_id": entry.id})
        try:
            intent = await self._stripe.retrieve_payment_intent(intent_id)
        except StripeObjectMissing:
            return None
        return await self.from_payment_intent(intent) if intent["status"] == "succeeded" else None

    async def _check_customer(self, top_up: TopUp, customer_id: str | None) -> None:
        """Raise Reject unless the account's customer has paid: its present or a former one."""
        customers = self._store.customers
        owner = await customers.account_of(customer_id) if customer_id else None
        if owner == top_up.account_uid:
            return
        if owner is not None:
            raise Reject(f"{PAID_BY} {customer_id}, the customer of another account")
        known = await customers.get(top_up.account_uid)
        if known is not None:
            raise Reject(f"{PAID_BY} {customer_id}, and the account's customer is {known}")


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
