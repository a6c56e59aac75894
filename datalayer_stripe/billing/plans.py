"""Subscribing to a plan, cancelling it, and taking the cancellation back."""

import hashlib
import uuid
from collections.abc import Iterable
from typing import Any

from pydantic import Field

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
        for _, snapshot in existing:
            if snapshot.is_running:
                raise Conflict(f"There is a subscription already, and it is {snapshot.status}.")
        pending = [pair for pair in existing if pair[1].status == "incomplete"]
        same = next((one for one, snapshot in pending if snapshot.price_id == plan.id), None)
        for subscription, _ in pending:
            if subscription is not same:
                await self._withdraw(subscription)
        if same is not None:
            return _started(same)
        subscription = await self._stripe.create_subscription(
            customer_id=customer_id,
            price_id=plan.id,
            account_uid=identity.account_uid,
            idempotency_key=_subscribe_key(customer_id, (snapshot.id for _, snapshot in existing)),
        )
        await self._subscriptions.keep(subscription, ticket=0)
        return _started(subscription)

    async def _withdraw(self, subscription: StripeData) -> None:
        """Take back the first invoice of a pending subscription, so that two cannot be paid.

        Not by cancelling it: Stripe refuses to void an invoice that was paid a moment ago, and
        would not refuse to cancel what it paid for. Raises Conflict then.
        """
        invoice_id = id_of(subscription.get("latest_invoice"))
        if invoice_id is None:
            return
        try:
            await self._stripe.void_invoice(invoice_id, idempotency_key=f"void-{invoice_id}")
        except InvalidRequest:
            raise Conflict("There is a subscription already, and it is being paid.") from None

    async def cancel(self, account_uid: str) -> SubscriptionSnapshot:
        """Let the subscription end with its period. Raises Conflict when there is none."""
        running = await self._running(account_uid)
        return await self._change(running.id, {"cancel_at_period_end": True})

    async def resume(self, account_uid: str) -> SubscriptionSnapshot:
        """Take a scheduled cancellation back. Raises Conflict when there is nothing to resume."""
        running = await self._running(account_uid)
        # How it was scheduled decides how to take it back; the portal may have done it just now.
        try:
            running = await self._subscriptions.refresh(running.id)
        except Reject:  # Stripe knows it no longer
            raise Conflict("The subscription has ended.") from None
        if not (running.is_running and running.ends_with_period):
            raise Conflict("No cancellation is scheduled: there is nothing to resume.")
        by_date = not running.cancel_at_period_end
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
        if await self._is_superseded(setup_intent):
            return  # an old event that comes late must not bring an old card back
        try:
            await self._stripe.update_subscription(
                subscription_id,
                {"default_payment_method": id_of(setup_intent.get("payment_method"))},
                idempotency_key=f"use-card-{setup_intent['id']}",
            )
        except InvalidRequest as error:
            raise Reject(error.message) from error

    async def _is_superseded(self, setup_intent: StripeData) -> bool:
        """Whether a later SetupIntent has saved another card for the same subscription."""
        customer_id = id_of(setup_intent.get("customer"))
        listed = await self._stripe.list_setup_intents(customer_id) if customer_id else []
        subscription_id = metadata_of(setup_intent).get("subscription_id")
        saved = (
            intent["id"]
            for intent in listed
            if intent["status"] == "succeeded"
            and metadata_of(intent).get("subscription_id") == subscription_id
        )
        return bool(next(saved, setup_intent["id"]) != setup_intent["id"])

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
            if await self._has_ended(subscription_id):
                raise Conflict("The subscription has ended.") from None
            raise
        return await self._subscriptions.keep(subscription, ticket)

    async def _has_ended(self, subscription_id: str) -> bool:
        """Whether it has ended at Stripe, where the event that says so is still on its way."""
        try:
            return (await self._subscriptions.refresh(subscription_id)).is_over
        except Reject:  # Stripe knows it no longer
            return True


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
