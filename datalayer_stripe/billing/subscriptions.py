"""Keep subscription snapshots equal to Stripe's objects, in any order of events.

An event only says that a subscription may have changed. Each refresh takes a ticket, fetches the
subscription from Stripe, and writes its snapshot unless a later ticket has written already. A
change after the last fetch has an event of its own.
"""

import asyncio
from collections.abc import Callable, Collection, Sequence

from pydantic import ValidationError

from ..clock import Clock
from ..errors import (
    RateLimited,
    Reject,
    StripeCustomerMissing,
    StripeObjectMissing,
    StripeUnavailable,
)
from ..limits import AccountRateLimiter
from ..models import SubscriptionSnapshot
from ..store import Store
from ..store.overviews import Overview
from ..stripe_api.client import StripeClient
from ..stripe_api.objects import (
    StripeData,
    account_uid_of,
    id_of,
    invoice_product_ids,
    invoice_subscription_id,
    subscription_product_ids,
    subscription_snapshot,
)
from ..stripe_api.rate_limit import permitted
from .catalog import Catalog
from .shared_reads import SharedReads
from .snapshots import allows_purchases, primary_subscription

_RETRIEVE = "subscriptions.retrieve"


class Subscriptions:
    """The snapshots of subscriptions.

    Args:
        store: The database.
        stripe: The client of Stripe's API.
        catalog: The plans for sale.
        clock: Returns the present time.
        product_ids: The products whose subscriptions belong to this service.
        rate_limiter: Limits how often an account refreshes a snapshot.
    """

    def __init__(
        self,
        store: Store,
        stripe: StripeClient,
        catalog: Catalog,
        clock: Clock,
        product_ids: Collection[str],
        rate_limiter: AccountRateLimiter,
    ) -> None:
        self._store = store
        self._stripe = stripe
        self._catalog = catalog
        self._clock = clock
        self._product_ids = frozenset(product_ids)
        self._rate_limiter = rate_limiter
        self._shared_reads = SharedReads(self.fetch_snapshot)

    def is_ours(self, subscription: StripeData) -> bool:
        """Return whether a subscription is for one of the service's products.

        Args:
            subscription: The subscription, as Stripe sends it.
        """
        return bool(subscription_product_ids(subscription) & self._product_ids)

    async def subscription_id_in(self, data: StripeData) -> str | None:
        """Return the id of the service's subscription that an object belongs to.

        Args:
            data: A subscription, or an invoice of one, as Stripe sends it.

        Returns:
            None for a one-off invoice, and for a subscription to another product that has no
            snapshot.
        """
        if data.get("object") == "subscription":
            subscription_id, products = id_of(data), subscription_product_ids(data)
        else:
            subscription_id, products = invoice_subscription_id(data), invoice_product_ids(data)
        if subscription_id is None:
            return None
        if products & self._product_ids:
            return subscription_id
        known = await self._store.subscriptions.is_known(subscription_id)
        return subscription_id if known else None

    # Read from Stripe

    async def fetch_snapshot(
        self, subscription_id: str, on_start: Callable[[], None] = lambda: None
    ) -> tuple[SubscriptionSnapshot, int]:
        """Take a ticket, and fetch a subscription from Stripe.

        Args:
            subscription_id: The subscription, `sub_…`.
            on_start: Called after the wait for a permit, before the ticket is taken.

        Returns:
            The snapshot and the ticket.

        Raises:
            Reject: Stripe does not have the subscription, or its account is unknown.
        """
        await self._stripe.transport.wait_for_permit(_RETRIEVE)
        on_start()
        ticket = await self._store.subscriptions.take_ticket(subscription_id)
        try:
            with permitted():
                subscription = await self._stripe.retrieve_subscription(subscription_id)
        except StripeObjectMissing:
            raise Reject(f"Stripe has no subscription {subscription_id}") from None
        snapshot = await self.make_snapshot(subscription)
        if snapshot.account_uid is None:
            raise Reject(
                f"no account for subscription {subscription_id}: neither its customer "
                f"{snapshot.customer_id} nor its metadata's account_uid is known"
            )
        return snapshot, ticket

    async def fetch_shared(self, subscription_id: str) -> tuple[SubscriptionSnapshot, int]:
        """Fetch a subscription as :meth:`fetch_snapshot`, together with other callers.

        Events of one subscription often come together. While the read waits for its permit, they
        share it. An event that comes later has a read of its own, so that no change is missed.

        Args:
            subscription_id: The subscription, `sub_…`.
        """
        return await self._shared_reads.get(subscription_id)

    async def refresh(self, subscription_id: str) -> SubscriptionSnapshot:
        """Fetch a subscription from Stripe, and write its snapshot.

        Args:
            subscription_id: The subscription, `sub_…`.

        Raises:
            Reject: Stripe does not have the subscription, or its account is unknown.
        """
        snapshot, ticket = await self.fetch_snapshot(subscription_id)
        await self._store.subscriptions.write(snapshot, ticket)
        return snapshot

    async def refresh_of_customer(
        self, account_uid: str, customer_id: str, snapshots: Sequence[SubscriptionSnapshot]
    ) -> list[tuple[StripeData, SubscriptionSnapshot]]:
        """Refresh the account's subscriptions that a customer pays for, with one call to Stripe.

        Args:
            account_uid: The account.
            customer_id: The customer, `cus_…`.
            snapshots: The stored snapshots of the account.

        Returns:
            Each subscription, as Stripe sends it, and its snapshot.

        Raises:
            StripeCustomerMissing: Stripe does not have the customer.
        """
        known = [one.id for one in snapshots if not one.is_over]
        taken = await asyncio.gather(*map(self._store.subscriptions.take_ticket, known))
        tickets = dict(zip(known, taken, strict=True))
        listed = await self._stripe.list_subscriptions(customer_id)
        ours = [subscription for subscription in listed if self.is_ours(subscription)]
        stored = await asyncio.gather(
            *(self.store_snapshot(one, tickets.get(one["id"], 0)) for one in ours)
        )
        refreshed = zip(ours, stored, strict=True)
        return [pair for pair in refreshed if pair[1].account_uid == account_uid]

    async def refresh_others(
        self, snapshots: Sequence[SubscriptionSnapshot], refreshed: Collection[str]
    ) -> list[SubscriptionSnapshot]:
        """Refresh the account's remaining subscriptions, which other customers pay for.

        Args:
            snapshots: The stored snapshots of the account.
            refreshed: The ids of the subscriptions that were refreshed already.

        Returns:
            The snapshots of those that Stripe has, and that are still for one of the service's
            products.
        """
        others = []
        for known in snapshots:
            if known.is_over or known.id in refreshed:
                continue
            try:
                others.append(await self.refresh(known.id))
            except Reject:
                continue  # Stripe does not have it any more
        return [one for one in others if one.product_id in self._product_ids]

    async def store_snapshot(self, subscription: StripeData, ticket: int) -> SubscriptionSnapshot:
        """Write and return the snapshot of a subscription.

        Args:
            subscription: The subscription, as Stripe sends it.
            ticket: The ticket that was taken before the subscription was fetched.

        Raises:
            Reject: The subscription cannot be read.
        """
        snapshot = await self.make_snapshot(subscription)
        await self._store.subscriptions.write(snapshot, ticket)
        return snapshot

    async def make_snapshot(self, subscription: StripeData) -> SubscriptionSnapshot:
        """Return the snapshot of a subscription, without writing it.

        Its account is the one in its metadata, because one customer may pay for several accounts;
        else the account of its present or former customer; else the account of the stored
        snapshot; else None.

        Args:
            subscription: The subscription, as Stripe sends it.

        Raises:
            Reject: The subscription cannot be read.
        """
        customer_id = id_of(subscription.get("customer")) or ""
        account_uid = (
            account_uid_of(subscription)
            or await self._store.customers.account_of(customer_id)
            or await self._store.subscriptions.account_of(id_of(subscription) or "")
        )
        try:
            snapshot = subscription_snapshot(
                subscription, account_uid=account_uid, product_ids=self._product_ids
            )
        except (ValidationError, LookupError, TypeError, ValueError, OverflowError) as error:
            raise Reject(f"unreadable subscription: {type(error).__name__}") from None
        if snapshot.plan_name is None:  # Stripe does not expand the products in a list
            name = self._catalog.cached_plan_name(snapshot.price_id)
            snapshot = snapshot.model_copy(update={"plan_name": name})
        return snapshot

    # Read snapshots

    async def snapshots_of(self, account_uid: str) -> list[SubscriptionSnapshot]:
        """Return the snapshots of the account's subscriptions.

        Args:
            account_uid: The account.
        """
        return await self._store.subscriptions.of_account(account_uid)

    async def refresh_if_incomplete(
        self, account_uid: str, snapshots: Sequence[SubscriptionSnapshot]
    ) -> Sequence[SubscriptionSnapshot]:
        """Return the account's snapshots; refresh the primary one if it awaits its first payment.

        A person who has just paid waits for this change, and the event may be late.

        Args:
            account_uid: The account.
            snapshots: The stored snapshots of the account.
        """
        primary = primary_subscription(snapshots)
        if primary is None or primary.status != "incomplete":
            return snapshots
        try:
            self._rate_limiter.take(account_uid)
            refreshed = await self.refresh(primary.id)
        except (StripeUnavailable, RateLimited, Reject):
            return snapshots  # the stored snapshots can be shown without Stripe
        return [refreshed if one.id == primary.id else one for one in snapshots]

    # Eligibility

    def is_eligible(self, snapshots: Collection[SubscriptionSnapshot]) -> bool:
        """Return whether one of an account's subscriptions allows it to buy credits now.

        Args:
            snapshots: The snapshots of the account's subscriptions.
        """
        now = self._clock()
        return any(allows_purchases(snapshot, self._product_ids, now) for snapshot in snapshots)

    async def can_buy_credits(self, overview: Overview) -> bool:
        """Return whether the account may buy credits.

        If the snapshots do not allow it, the subscriptions are refreshed: a person who has just
        subscribed is not refused because a webhook is late.

        Args:
            overview: The account as stored.
        """
        account_uid, snapshots = overview.account.uid, overview.snapshots
        if self.is_eligible(snapshots):
            return True
        customer_id = overview.customer_id
        customer_id = customer_id or next((known.customer_id for known in snapshots), None)
        if customer_id is None:
            return False
        try:
            refreshed = await self.refresh_of_customer(account_uid, customer_id, snapshots)
        except StripeCustomerMissing:
            refreshed = []  # its subscriptions were cancelled when it was deleted
        listed = [snapshot for _, snapshot in refreshed]
        others = await self.refresh_others(snapshots, {snapshot.id for snapshot in listed})
        return self.is_eligible([*listed, *others])
