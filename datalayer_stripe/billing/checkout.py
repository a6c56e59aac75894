"""Start the purchase of a package of credits."""

from pydantic import Field

from ..errors import Conflict, SubscriptionRequired
from ..models import Identity, Model, Package
from ..store import Store
from ..stripe_api.objects import StripeData
from .catalog import Catalog
from .customers import Customers
from .open_payment_intents import OpenPaymentIntents, Order
from .subscriptions import Subscriptions

DISPUTED = (
    "A payment of this account is disputed. "
    "You can buy credits again when the dispute has been decided."
)


class StartedTopUp(Model):
    """A PaymentIntent that the browser can pay with a card."""

    payment_intent_id: str
    client_secret: str = Field(repr=False)
    package: Package


class Checkout:
    """Creates the PaymentIntents of top-ups.

    Args:
        store: The database.
        catalog: The packages for sale.
        customers: The accounts' customers at Stripe.
        subscriptions: Decides whether an account may buy credits.
        open_payment_intents: Keeps at most one payable PaymentIntent per account and package.
        refuse_disputed: Whether an account with an open dispute is refused.
    """

    def __init__(
        self,
        store: Store,
        catalog: Catalog,
        customers: Customers,
        subscriptions: Subscriptions,
        open_payment_intents: OpenPaymentIntents,
        *,
        refuse_disputed: bool = False,
    ) -> None:
        self._store = store
        self._catalog = catalog
        self._customers = customers
        self._subscriptions = subscriptions
        self._open_payment_intents = open_payment_intents
        self._refuse_disputed = refuse_disputed

    async def start(
        self, identity: Identity, price_id: str, idempotency_key: str | None
    ) -> StartedTopUp:
        """Return a PaymentIntent for a package, with the amount of Stripe's price.

        Without an idempotency key, a recent PaymentIntent that can still be paid is returned
        again, so that two browser tabs lead to one charge. With a key, only the key decides: the
        same key of the same account returns the same PaymentIntent, and a new key a new one.

        Args:
            identity: The caller.
            price_id: The price of the package, `price_…`.
            idempotency_key: The client's own key, or None.

        Raises:
            SubscriptionRequired: The account has no subscription that allows purchases.
            PriceNotFound: The price is not for sale.
            Conflict: The account has an open dispute, or buys concurrently in another window.
        """
        overview = await self._store.overviews.of_account(identity.account_uid)
        if not await self._subscriptions.can_buy_credits(overview):
            raise SubscriptionRequired
        if self._refuse_disputed and await self._store.reversals.has_open_dispute(
            identity.account_uid
        ):
            raise Conflict(DISPUTED)
        package = await self._catalog.package(price_id)

        async def create_intent(customer_id: str) -> StripeData:
            order = Order(
                account_uid=identity.account_uid, customer_id=customer_id, package=package
            )
            if idempotency_key:
                return await self._open_payment_intents.create_for_client(order, idempotency_key)
            return await self._open_payment_intents.get_or_create(order)

        intent = await self._customers.run_with_customer(
            identity, create_intent, known=overview.customer_id
        )
        return StartedTopUp(
            payment_intent_id=intent["id"], client_secret=intent["client_secret"], package=package
        )
