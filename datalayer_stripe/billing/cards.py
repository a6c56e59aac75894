"""Change the card that pays for the renewals of a subscription."""

import uuid

from ..errors import InvalidRequest, Reject, StripeCustomerMissing
from ..models import SavedCard, SubscriptionSnapshot
from ..store import Store
from ..stripe_api.client import StripeClient
from ..stripe_api.objects import StripeData, account_uid_of, id_of, metadata_of
from .customers import Customers
from .metadata import SUBSCRIPTION_ID, setup_intent_metadata
from .plans import Plans
from .subscriptions import Subscriptions


class Cards:
    """Changes the cards of subscriptions.

    Args:
        store: The database.
        stripe: The client of Stripe's API.
        customers: The accounts' customers at Stripe.
        subscriptions: The snapshots of subscriptions.
        plans: Finds the running subscription of an account.
    """

    def __init__(
        self,
        store: Store,
        stripe: StripeClient,
        customers: Customers,
        subscriptions: Subscriptions,
        plans: Plans,
    ) -> None:
        self._store = store
        self._stripe = stripe
        self._customers = customers
        self._subscriptions = subscriptions
        self._plans = plans

    async def start_change(self, account_uid: str) -> str:
        """Create a SetupIntent whose card the running subscription will use.

        Args:
            account_uid: The account.

        Returns:
            The client secret of the SetupIntent.

        Raises:
            Conflict: No subscription is running.
        """
        running = await self._plans.get_running(account_uid)
        try:
            return await self._create_setup_intent(account_uid, running)
        except StripeCustomerMissing:
            await self._customers.release(running.customer_id)
            # The subscription ended with its customer. This updates its snapshot.
            await self._plans.has_ended(running.id)
        return await self._create_setup_intent(
            account_uid, await self._plans.get_running(account_uid)
        )

    async def _create_setup_intent(self, account_uid: str, running: SubscriptionSnapshot) -> str:
        intent = await self._stripe.create_setup_intent(
            customer_id=running.customer_id,
            metadata=setup_intent_metadata(account_uid, running.id),
            idempotency_key=f"setup-{uuid.uuid4().hex}",
        )
        return str(intent["client_secret"])

    async def use(self, setup_intent: StripeData, *, confirmed_at: int) -> None:
        """Charge a subscription's renewals to the card that a SetupIntent has saved.

        The card that was confirmed last is used, in any order of events. A SetupIntent of another
        system on a shared Stripe account changes nothing.

        Args:
            setup_intent: The succeeded SetupIntent, as Stripe sends it.
            confirmed_at: The `created` of its event, in epoch seconds.

        Raises:
            Reject: Stripe refuses the change, for example because the subscription has ended.
        """
        subscription_id = metadata_of(setup_intent).get(SUBSCRIPTION_ID)
        if subscription_id is None:
            return
        snapshots = await self._subscriptions.snapshots_of(account_uid_of(setup_intent) or "")
        if subscription_id not in {snapshot.id for snapshot in snapshots}:
            return
        card = SavedCard(
            setup_intent_id=setup_intent["id"],
            payment_method=id_of(setup_intent.get("payment_method")) or "",
            confirmed_at=confirmed_at,
            created=setup_intent["created"],
        )
        chosen = await self._store.subscriptions.choose_card(subscription_id, card)
        if chosen != card:
            return  # a newer card was chosen already
        while True:
            await self._set_card(subscription_id, chosen)
            # A newer card that was chosen concurrently may have reached Stripe before this one.
            latest = await self._store.subscriptions.choose_card(subscription_id, chosen)
            if latest == chosen:
                return
            chosen = latest

    async def _set_card(self, subscription_id: str, card: SavedCard) -> None:
        try:
            await self._stripe.update_subscription(
                subscription_id,
                {"default_payment_method": card.payment_method},
                # The key is random, because setting the same card twice is harmless.
                idempotency_key=f"use-card-{uuid.uuid4().hex}",
            )
        except InvalidRequest as error:
            raise Reject(error.message) from error
