"""Subscribing to a plan, cancelling it, and taking the cancellation back."""

import hashlib
import uuid
from collections.abc import Collection, Iterable
from typing import Any

from pydantic import Field

from ..errors import Conflict, InvalidRequest, Reject, StripeCustomerMissing
from ..models import Identity, Model, Plan, SavedCard, SubscriptionSnapshot
from ..store import Store
from ..stripe_api.client import StripeClient
from ..stripe_api.objects import StripeData, account_uid_of, id_of, metadata_of
from .catalog import Catalog
from .customers import Customers
from .idempotency import IdempotentRequests
from .metadata import SUBSCRIPTION_ID, setup_intent_metadata, subscription_metadata
from .subscriptions import Subscriptions, primary_subscription

_HAS_ENDED = "The subscription has ended."
_NONE_IS_RUNNING = "There is no subscription that is running."


class StartedSubscription(Model):
    """A subscription that waits for its first payment; no secret where nothing is to be paid."""

    subscription_id: str
    client_secret: str | None = Field(repr=False)
    status: str


class Plans:
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
        """An incomplete subscription to a plan; a pending one of the same price is used again.

        Stripe decides, not our copies: to be charged twice a month is worse than one call.
        Raises PriceNotFound, and Conflict when a subscription of the account is running, whichever
        customer holds it.
        """
        plan = await self._catalog.plan(price_id)

        async def subscribe_as(customer_id: str) -> StartedSubscription:
            return await self._subscribe(identity.account_uid, plan, customer_id)

        return await self._customers.using(identity, subscribe_as)

    async def _subscribe(
        self, account_uid: str, plan: Plan, customer_id: str
    ) -> StartedSubscription:
        listed = await self._subscriptions.refresh_all(account_uid, customer_id)
        ids = {snapshot.id for _, snapshot in listed}
        others = await self._subscriptions.refresh_others(account_uid, ids)
        snapshots = [*(snapshot for _, snapshot in listed), *others]
        running = next((snapshot for snapshot in snapshots if snapshot.is_running), None)
        same = next((one for one, snapshot in listed if _is_pending(snapshot, plan)), None)
        for snapshot in snapshots:
            is_wanted = running is None and snapshot.id == id_of(same)
            if snapshot.status == "incomplete" and not is_wanted:
                await self._withdraw(snapshot)
        if running is not None:
            raise Conflict(f"There is a subscription already, and it is {running.status}.")
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
            _subscribe_key(customer_id, ids), create, nothing_exists=True
        )
        await self._subscriptions.keep(subscription, ticket=0)
        return _started(subscription)

    async def _withdraw(self, pending: SubscriptionSnapshot) -> None:
        """Take back the first invoice of a pending subscription, so that two cannot be paid.

        Not by cancelling it: Stripe refuses to void an invoice that was paid a moment ago, and
        would not refuse to cancel what it paid for. Raises Conflict then.
        """
        if pending.latest_invoice is None:
            return
        try:
            # To void an invoice twice does no harm.
            await self._stripe.void_invoice(
                pending.latest_invoice.id, idempotency_key=f"void-{uuid.uuid4().hex}"
            )
        except InvalidRequest:
            if not await self._has_ended(pending.id):
                message = "There is a subscription already, and it is being paid."
                raise Conflict(message) from None

    async def cancel(self, account_uid: str) -> SubscriptionSnapshot:
        """Let every running subscription of the account end with its period.

        Those that wait for their first payment are taken back at once.

        Returns:
            The subscription to tell of; one that was taken back is over.

        Raises:
            Conflict: there is no subscription, or it has ended or is being paid.
        """
        snapshots = await self._refreshed(account_uid)
        running = [snapshot for snapshot in snapshots if snapshot.is_running]
        taken_back = await self._withdraw_pending(snapshots)
        if not running:
            if taken_back is None:
                raise Conflict(_NONE_IS_RUNNING)
            return taken_back
        changes = {"cancel_at_period_end": True}
        changed = [await self._change(snapshot.id, changes) for snapshot in running]
        told = primary_subscription([snapshot for snapshot in changed if snapshot is not None])
        if told is None:
            raise Conflict(_HAS_ENDED)
        return told

    async def _withdraw_pending(
        self, snapshots: Collection[SubscriptionSnapshot]
    ) -> SubscriptionSnapshot | None:
        """Take back those that wait for their first payment; return one of them, or None."""
        pending = [snapshot for snapshot in snapshots if snapshot.status == "incomplete"]
        for snapshot in pending:
            await self._withdraw(snapshot)
        refreshed = [await self._subscriptions.refresh(snapshot.id) for snapshot in pending]
        return refreshed[0] if refreshed else None

    async def resume(self, account_uid: str) -> SubscriptionSnapshot:
        """Take a scheduled cancellation back. Raises Conflict when there is nothing to resume."""
        running = await self._running(account_uid)
        # How it was scheduled decides how to take it back; the portal may have done it just now.
        try:
            running = await self._subscriptions.refresh(running.id)
        except Reject:  # Stripe knows it no longer
            raise Conflict(_HAS_ENDED) from None
        if not (running.is_running and running.ends_with_period):
            raise Conflict("No cancellation is scheduled: there is nothing to resume.")
        by_date = not running.cancel_at_period_end
        changed = await self._change(
            running.id, {"cancel_at": ""} if by_date else {"cancel_at_period_end": False}
        )
        if changed is None:
            raise Conflict(_HAS_ENDED)
        return changed

    async def renew_card(self, account_uid: str) -> str:
        """The client secret of a SetupIntent whose card the subscription is to use.

        Raises Conflict when no subscription is running.
        """
        running = await self._running(account_uid)
        try:
            return await self._start_setup(account_uid, running)
        except StripeCustomerMissing:
            await self._customers.release(running.customer_id)
            await self._has_ended(running.id)  # with its customer, as our copy says from now on
        return await self._start_setup(account_uid, await self._running(account_uid))

    async def _start_setup(self, account_uid: str, running: SubscriptionSnapshot) -> str:
        intent = await self._stripe.create_setup_intent(
            customer_id=running.customer_id,
            metadata=setup_intent_metadata(account_uid, running.id),
            idempotency_key=f"setup-{uuid.uuid4().hex}",
        )
        return str(intent["client_secret"])

    async def use_card(self, setup_intent: StripeData, *, confirmed_at: int) -> None:
        """Charge a subscription's renewals to the card that a SetupIntent of ours has saved.

        The card that was confirmed last is used, in whatever order events come. Another system's
        SetupIntent on a shared Stripe account changes nothing.

        Args:
            setup_intent: the SetupIntent, which has succeeded.
            confirmed_at: when it did, as the `created` of its event.

        Raises:
            Reject: Stripe refuses the change, as for a subscription that has ended meanwhile.
        """
        subscription_id = metadata_of(setup_intent).get(SUBSCRIPTION_ID)
        if subscription_id is None:
            return
        snapshots = await self._subscriptions.of_account(account_uid_of(setup_intent) or "")
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
            return  # an old event that comes late must not bring an old card back
        while True:
            await self._set_card(subscription_id, chosen)
            # A later card that was chosen meanwhile may have reached Stripe before this one.
            latest = await self._store.subscriptions.choose_card(subscription_id, chosen)
            if latest == chosen:
                return
            chosen = latest

    async def _set_card(self, subscription_id: str, card: SavedCard) -> None:
        try:
            await self._stripe.update_subscription(
                subscription_id,
                {"default_payment_method": card.payment_method},
                # To set the same card twice does no harm.
                idempotency_key=f"use-card-{uuid.uuid4().hex}",
            )
        except InvalidRequest as error:
            raise Reject(error.message) from error

    async def _running(self, account_uid: str) -> SubscriptionSnapshot:
        """The account's running subscription, asking Stripe where our copies show none."""
        current = await self._subscriptions.current(account_uid)
        if current is None or not current.is_running:
            current = primary_subscription(await self._refreshed(account_uid))
        if current is None or not current.is_running:
            raise Conflict(_NONE_IS_RUNNING)
        return current

    async def _refreshed(self, account_uid: str) -> list[SubscriptionSnapshot]:
        """The account's subscriptions as Stripe has them now, whichever customer holds them."""

        async def of_customer(customer_id: str) -> list[SubscriptionSnapshot]:
            listed = await self._subscriptions.refresh_all(account_uid, customer_id)
            return [snapshot for _, snapshot in listed]

        listed = await self._customers.using_known(account_uid, of_customer) or []
        ids = {snapshot.id for snapshot in listed}
        return [*listed, *await self._subscriptions.refresh_others(account_uid, ids)]

    async def _change(
        self, subscription_id: str, changes: dict[str, Any]
    ) -> SubscriptionSnapshot | None:
        """Change a subscription at Stripe; None where it has ended."""
        ticket = await self._store.subscriptions.take_ticket(subscription_id)
        try:
            subscription = await self._stripe.update_subscription(
                subscription_id,
                changes,
                # To cancel, resume and cancel are three requests; the same change twice is one.
                idempotency_key=f"change-{uuid.uuid4().hex}",
            )
        except InvalidRequest:
            if await self._has_ended(subscription_id):
                return None
            raise
        return await self._subscriptions.keep(subscription, ticket)

    async def _has_ended(self, subscription_id: str) -> bool:
        """Whether it has ended at Stripe, where the event that says so is still on its way."""
        try:
            return (await self._subscriptions.refresh(subscription_id)).is_over
        except Reject:  # Stripe knows it no longer
            return True


def _is_pending(snapshot: SubscriptionSnapshot, plan: Plan) -> bool:
    return snapshot.status == "incomplete" and snapshot.price_id == plan.id


def _started(subscription: StripeData) -> StartedSubscription:
    invoice = subscription.get("latest_invoice") or {}
    # A trial asks for a card without a payment.
    waiting = invoice.get("confirmation_secret") or subscription.get("pending_setup_intent") or {}
    return StartedSubscription(
        subscription_id=subscription["id"],
        client_secret=waiting.get("client_secret"),
        status=subscription["status"],
    )


def _subscribe_key(customer_id: str, existing_ids: Iterable[str]) -> str:
    """Requests that race see the same past, and so ask for the very same subscription.

    Without the price: of two plans that are asked for at once, Stripe refuses the second.
    """
    past = hashlib.sha256(" ".join(sorted(existing_ids)).encode()).hexdigest()[:32]
    return f"subscribe-{customer_id}-{past}"
