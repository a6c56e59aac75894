"""Subscribe to a plan, and cancel and resume the subscription."""

import asyncio
import hashlib
import uuid
from collections.abc import Collection, Iterable
from typing import Any

from pydantic import Field

from ..errors import Conflict, InvalidRequest, Reject
from ..models import Identity, Model, Plan, SubscriptionSnapshot
from ..store import Store
from ..store.overviews import Overview
from ..stripe_api.client import StripeClient
from ..stripe_api.objects import StripeData, id_of
from .catalog import Catalog
from .customers import Customers
from .idempotency import IdempotentRequests
from .metadata import subscription_metadata
from .snapshots import primary_subscription
from .subscriptions import Subscriptions

_HAS_ENDED = "The subscription has ended."
_NOT_RUNNING = "There is no running subscription."


class StartedSubscription(Model):
    """A subscription that waits for its first payment. No secret is needed if nothing is due."""

    subscription_id: str
    client_secret: str | None = Field(repr=False)
    status: str


class Plans:
    """Changes the subscriptions of accounts.

    Args:
        store: The database.
        stripe: The client of Stripe's API.
        catalog: The plans for sale.
        customers: The accounts' customers at Stripe.
        subscriptions: The snapshots of subscriptions.
        requests: Sends the requests that create subscriptions.
    """

    def __init__(
        self,
        store: Store,
        stripe: StripeClient,
        catalog: Catalog,
        customers: Customers,
        subscriptions: Subscriptions,
        requests: IdempotentRequests,
    ) -> None:
        self._store = store
        self._stripe = stripe
        self._catalog = catalog
        self._customers = customers
        self._subscriptions = subscriptions
        self._requests = requests

    async def subscribe(self, identity: Identity, price_id: str) -> StartedSubscription:
        """Return an incomplete subscription to a plan; reuse a pending one of the same price.

        Existing subscriptions are read from Stripe, because a snapshot may be late and a second
        subscription would charge the account twice a month.

        Args:
            identity: The caller.
            price_id: The price of the plan, `price_…`.

        Raises:
            PriceNotFound: The price is not for sale.
            Conflict: A subscription of the account is running, with any customer.
        """
        plan, overview = await asyncio.gather(
            self._catalog.plan(price_id),
            self._store.overviews.of_account(identity.account_uid),
        )

        async def subscribe_as(customer_id: str) -> StartedSubscription:
            return await self._subscribe(overview, plan, customer_id)

        return await self._customers.run_with_customer(
            identity, subscribe_as, known=overview.customer_id
        )

    async def _subscribe(
        self, overview: Overview, plan: Plan, customer_id: str
    ) -> StartedSubscription:
        account_uid, known = overview.account.uid, overview.snapshots
        listed = await self._subscriptions.refresh_of_customer(account_uid, customer_id, known)
        ids = {snapshot.id for _, snapshot in listed}
        others = await self._subscriptions.refresh_others(known, ids)
        snapshots = [*(snapshot for _, snapshot in listed), *others]
        running = next((snapshot for snapshot in snapshots if snapshot.is_running), None)
        same = next((one for one, snapshot in listed if _is_pending(snapshot, plan)), None)
        for snapshot in snapshots:
            is_reused = running is None and snapshot.id == id_of(same)
            if snapshot.status == "incomplete" and not is_reused:
                await self._void_first_invoice(snapshot)
        if running is not None:
            raise Conflict(
                f"The account already has a subscription. Its status is {running.status}."
            )
        if same is not None:
            return _started(same)

        async def create(idempotency_key: str) -> StripeData:
            return await self._stripe.create_subscription(
                customer_id=customer_id,
                price_id=plan.id,
                metadata=subscription_metadata(account_uid),
                idempotency_key=idempotency_key,
            )

        subscription = await self._requests.send(
            _subscribe_key(customer_id, ids), create, nothing_was_created=True
        )
        await self._subscriptions.store_snapshot(subscription, ticket=0)
        return _started(subscription)

    async def _void_first_invoice(self, pending: SubscriptionSnapshot) -> None:
        """Void the first invoice of a pending subscription, so that two cannot be paid.

        The subscription is not cancelled: if the invoice was paid just before, Stripe refuses to
        void it, but would cancel the paid subscription.

        Raises:
            Conflict: The invoice has been paid.
        """
        if pending.latest_invoice is None:
            return
        try:
            # The key is random, because voiding an invoice twice is harmless.
            await self._stripe.void_invoice(
                pending.latest_invoice.id, idempotency_key=f"void-{uuid.uuid4().hex}"
            )
        except InvalidRequest:
            if not await self.has_ended(pending.id):
                message = "The account already has a subscription, and it is being paid."
                raise Conflict(message) from None

    async def cancel(self, account_uid: str) -> SubscriptionSnapshot:
        """Cancel all running subscriptions of the account at the end of their period.

        Subscriptions that wait for their first payment end immediately.

        Args:
            account_uid: The account.

        Returns:
            The account's primary subscription after the change.

        Raises:
            Conflict: There is no subscription, or it has ended or is being paid.
        """
        snapshots = await self._refresh_all(account_uid)
        running = [snapshot for snapshot in snapshots if snapshot.is_running]
        ended = await self._end_pending(snapshots)
        if not running:
            if ended is None:
                raise Conflict(_NOT_RUNNING)
            return ended
        changes = {"cancel_at_period_end": True}
        updated = [await self._update(snapshot.id, changes) for snapshot in running]
        primary = primary_subscription([snapshot for snapshot in updated if snapshot is not None])
        if primary is None:
            raise Conflict(_HAS_ENDED)
        return primary

    async def _end_pending(
        self, snapshots: Collection[SubscriptionSnapshot]
    ) -> SubscriptionSnapshot | None:
        """End the subscriptions that wait for their first payment; return the first, or None."""
        pending = [snapshot for snapshot in snapshots if snapshot.status == "incomplete"]
        for snapshot in pending:
            await self._void_first_invoice(snapshot)
        refreshed = [await self._subscriptions.refresh(snapshot.id) for snapshot in pending]
        return refreshed[0] if refreshed else None

    async def resume(self, account_uid: str) -> SubscriptionSnapshot:
        """Undo a scheduled cancellation, and return the subscription.

        Args:
            account_uid: The account.

        Raises:
            Conflict: No cancellation is scheduled, or the subscription has ended.
        """
        running = await self.get_running(account_uid)
        # A cancellation at a date and one at the end of the period are undone differently, and
        # the portal may have scheduled it just before.
        try:
            running = await self._subscriptions.refresh(running.id)
        except Reject:  # Stripe does not have it any more
            raise Conflict(_HAS_ENDED) from None
        if not (running.is_running and running.ends_with_period):
            raise Conflict("No cancellation is scheduled. There is nothing to resume.")
        by_date = not running.cancel_at_period_end
        resumed = await self._update(
            running.id, {"cancel_at": ""} if by_date else {"cancel_at_period_end": False}
        )
        if resumed is None:
            raise Conflict(_HAS_ENDED)
        return resumed

    async def get_running(self, account_uid: str) -> SubscriptionSnapshot:
        """Return the account's running subscription; ask Stripe if no snapshot shows one.

        Args:
            account_uid: The account.

        Raises:
            Conflict: No subscription is running.
        """
        primary = primary_subscription(await self._subscriptions.snapshots_of(account_uid))
        if primary is None or not primary.is_running:
            primary = primary_subscription(await self._refresh_all(account_uid))
        if primary is None or not primary.is_running:
            raise Conflict(_NOT_RUNNING)
        return primary

    async def _refresh_all(self, account_uid: str) -> list[SubscriptionSnapshot]:
        """Refresh and return the account's subscriptions, with any customer."""

        async def refresh(customer_id: str) -> list[SubscriptionSnapshot]:
            listed = await self._subscriptions.refresh_of_customer(account_uid, customer_id, known)
            return [snapshot for _, snapshot in listed]

        overview = await self._store.overviews.of_account(account_uid)
        known = overview.snapshots
        listed = await self._customers.run_with_existing_customer(
            account_uid, refresh, known=overview.customer_id
        )
        ids = {snapshot.id for snapshot in listed or ()}
        return [*(listed or ()), *await self._subscriptions.refresh_others(known, ids)]

    async def _update(
        self, subscription_id: str, changes: dict[str, Any]
    ) -> SubscriptionSnapshot | None:
        """Change a subscription at Stripe; return its snapshot, or None if it has ended."""
        ticket = await self._store.subscriptions.take_ticket(subscription_id)
        try:
            subscription = await self._stripe.update_subscription(
                subscription_id,
                changes,
                # The key is random: to cancel, resume and cancel again are three requests.
                idempotency_key=f"change-{uuid.uuid4().hex}",
            )
        except InvalidRequest:
            if await self.has_ended(subscription_id):
                return None
            raise
        return await self._subscriptions.store_snapshot(subscription, ticket)

    async def has_ended(self, subscription_id: str) -> bool:
        """Refresh the snapshot of a subscription, and return whether it has ended at Stripe.

        Args:
            subscription_id: The subscription, `sub_…`.
        """
        try:
            return (await self._subscriptions.refresh(subscription_id)).is_over
        except Reject:  # Stripe does not have it any more
            return True


def _is_pending(snapshot: SubscriptionSnapshot, plan: Plan) -> bool:
    return snapshot.status == "incomplete" and snapshot.price_id == plan.id


def _started(subscription: StripeData) -> StartedSubscription:
    invoice = subscription.get("latest_invoice") or {}
    # A trial needs a card, but no payment.
    pending = invoice.get("confirmation_secret") or subscription.get("pending_setup_intent") or {}
    return StartedSubscription(
        subscription_id=subscription["id"],
        client_secret=pending.get("client_secret"),
        status=subscription["status"],
    )


def _subscribe_key(customer_id: str, existing_ids: Iterable[str]) -> str:
    """Return the base of the idempotency key of a new subscription.

    Concurrent requests see the same existing subscriptions, and so create the same one. The key
    does not contain the price: of two concurrent requests for different plans, Stripe refuses the
    second.
    """
    existing = hashlib.sha256(" ".join(sorted(existing_ids)).encode()).hexdigest()[:32]
    return f"subscribe-{customer_id}-{existing}"
