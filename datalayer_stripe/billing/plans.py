"""Subscribing to a plan, cancelling it, and taking the cancellation back."""

import hashlib
import uuid
from collections.abc import Iterable
from contextlib import suppress
from typing import Any

from ..errors import Conflict, InvalidRequest, Reject
from ..models import Identity, Model, SubscriptionSnapshot
from ..shapes import StripeData, id_of, metadata_of
from ..store import Store
from ..stripe_client import StripeClient
from .catalog import Catalog
from .customers import Customers
from .subscriptions import Subscriptions, most_telling


class StartedSubscription(Model):
    """A subscription that waits for its first payment; no secret where nothing is to be paid."""

    subscription_id: str
    client_secret: str | None
    status: str


class Plans:
    def __init__(
        self,
        store: Store,
        stripe: StripeClient,
        catalog: Catalog,
        customers: Customers,
        subscriptions: Subscriptions,
    ) -> None:
        self._store = store
        self._stripe = stripe
        self._catalog = catalog
        self._customers = customers
        self._subscriptions = subscriptions

    async def subscribe(self, identity: Identity, price_id: str) -> StartedSubscription:
        """An incomplete subscription to a plan; a pending one of the same price is used again.

        Stripe's list decides, not our copies: to be charged twice a month is worse than one call.
        Raises PriceNotFound, and Conflict when a subscription is running.
        """
        plan = await self._catalog.plan(price_id)
        customer_id = await self._customers.ensure(identity)
        existing = await self._subscriptions.refresh_all(identity.account_uid, customer_id)
        for subscription, snapshot in existing:
            if snapshot.is_running:
                raise Conflict(f"There is a subscription already, and it is {snapshot.status}.")
            if snapshot.status == "incomplete" and snapshot.price_id == plan.id:
                return _started(subscription)
        subscription = await self._stripe.create_subscription(
            customer_id=customer_id,
            price_id=plan.id,
            account_uid=identity.account_uid,
            idempotency_key=_subscribe_key(
                identity.account_uid, plan.id, (snapshot.id for _, snapshot in existing)
            ),
        )
        await self._subscriptions.keep(subscription, ticket=0)
        return _started(subscription)

    async def cancel(self, account_uid: str) -> SubscriptionSnapshot:
        """Let the subscription end with its period. Raises Conflict when there is none."""
        running = await self._running(account_uid)
        return await self._change(running.id, {"cancel_at_period_end": True})

    async def resume(self, account_uid: str) -> SubscriptionSnapshot:
        """Take a scheduled cancellation back. Raises Conflict when there is nothing to resume."""
        running = await self._running(account_uid)
        by_date = running.cancel_at is not None and not running.cancel_at_period_end
        return await self._change(
            running.id, {"cancel_at": ""} if by_date else {"cancel_at_period_end": False}
        )

    async def renew_card(self, account_uid: str) -> str:
        """The client secret of a SetupIntent whose card the subscription is to use.

        Raises Conflict when no subscription is running.
        """
        running = await self._running(account_uid)
        intent = await self._stripe.create_setup_intent(
            customer_id=running.customer_id,
            metadata={"account_uid": account_uid, "subscription_id": running.id},
            idempotency_key=f"setup-{uuid.uuid4().hex}",
        )
        return str(intent["client_secret"])

    async def use_card(self, setup_intent: StripeData) -> None:
        """Charge a subscription's renewals to the card that a SetupIntent of ours has saved.

        Another system's SetupIntent on a shared Stripe account changes nothing. Raises Reject when
        Stripe refuses the change, as for a subscription that has ended meanwhile.
        """
        metadata = metadata_of(setup_intent)
        snapshots = await self._subscriptions.of_account(metadata.get("account_uid", ""))
        subscription_id = metadata.get("subscription_id")
        if subscription_id not in {snapshot.id for snapshot in snapshots}:
            return
        try:
            await self._stripe.update_subscription(
                subscription_id,
                {"default_payment_method": id_of(setup_intent.get("payment_method"))},
                idempotency_key=f"use-card-{setup_intent['id']}",
            )
        except InvalidRequest as error:
            raise Reject(error.message) from error

    async def _running(self, account_uid: str) -> SubscriptionSnapshot:
        """The account's running subscription, asking Stripe where our copies show none."""
        current = await self._subscriptions.current(account_uid)
        if current is None or not current.is_running:
            customer_id = await self._customers.find(account_uid)
            if customer_id is None:
                raise Conflict("There is no subscription.")
            refreshed = await self._subscriptions.refresh_all(account_uid, customer_id)
            current = most_telling([snapshot for _, snapshot in refreshed])
        if current is None or not current.is_running:
            raise Conflict("There is no subscription that is running.")
        return current

    async def _change(self, subscription_id: str, changes: dict[str, Any]) -> SubscriptionSnapshot:
        ticket = await self._store.subscriptions.take_ticket(subscription_id)
        try:
            subscription = await self._stripe.update_subscription(
                subscription_id,
                changes,
                # A ticket is never given twice: to cancel, resume and cancel are three requests.
                idempotency_key=f"change-{subscription_id}-{ticket}",
            )
        except InvalidRequest:
            # It has ended at Stripe, and the event that says so is still on its way.
            with suppress(Reject):  # or Stripe knows it no longer
                await self._subscriptions.refresh(subscription_id)
            raise Conflict("The subscription has ended.") from None
        return await self._subscriptions.keep(subscription, ticket)


def _started(subscription: StripeData) -> StartedSubscription:
    invoice = subscription.get("latest_invoice") or {}
    # A trial asks for a card without a payment.
    waiting = invoice.get("confirmation_secret") or subscription.get("pending_setup_intent") or {}
    return StartedSubscription(
        subscription_id=subscription["id"],
        client_secret=waiting.get("client_secret"),
        status=subscription["status"],
    )


def _subscribe_key(account_uid: str, price_id: str, existing_ids: Iterable[str]) -> str:
    """Requests that race see the same past, and so ask for the very same subscription."""
    past = hashlib.sha256(" ".join(sorted(existing_ids)).encode()).hexdigest()[:32]
    return f"subscribe-{account_uid}-{price_id}-{past}"
