"""Subscription snapshots: kept equal to Stripe's own objects, in whatever order events come.

An event is only a hint to go and look. Who looks takes a ticket first, and writes only where no
later ticket has written: whatever changed after the winner looked has an event of its own.
"""

from collections.abc import Collection
from datetime import datetime, timedelta

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
from .catalog import Catalog

# Of several subscriptions the one that says most about the account: the liveliest, then the newest.
_STATUS_PRIORITY = ("active", "trialing", "past_due", "unpaid", "paused", "incomplete")


class Subscriptions:
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

    def is_ours(self, subscription: StripeData) -> bool:
        """Whether it is to one of our products."""
        return bool(subscription_product_ids(subscription) & self._product_ids)

    # Hints

    async def named_by(self, data: StripeData) -> str | None:
        """The id of the subscription of ours that a subscription or an invoice speaks of.

        None for what belongs to other systems on a shared Stripe account: another product's
        subscription that we hold no snapshot of, or a one-off invoice.
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

    # Looking at Stripe

    async def look(self, subscription_id: str) -> tuple[SubscriptionSnapshot, int]:
        """Take a ticket, fetch the subscription from Stripe; the snapshot and its ticket.

        Raises Reject when Stripe does not know it or we do not know its account.
        """
        ticket = await self._store.subscriptions.take_ticket(subscription_id)
        try:
            subscription = await self._stripe.retrieve_subscription(subscription_id)
        except StripeObjectMissing:
            raise Reject(f"Stripe knows no subscription {subscription_id}") from None
        snapshot = await self.snapshot(subscription)
        if snapshot.account_uid is None:
            raise Reject(
                f"no account for subscription {subscription_id}: neither its customer "
                f"{snapshot.customer_id} nor its metadata's account_uid is known"
            )
        return snapshot, ticket

    async def refresh(self, subscription_id: str) -> SubscriptionSnapshot:
        """Make our snapshot equal to Stripe's object, now."""
        snapshot, ticket = await self.look(subscription_id)
        await self._store.subscriptions.write(snapshot, ticket)
        return snapshot

    async def refresh_all(
        self, account_uid: str, customer_id: str
    ) -> list[tuple[StripeData, SubscriptionSnapshot]]:
        """An account's subscriptions in one call to Stripe, each beside its refreshed snapshot."""
        tickets = {
            snapshot.id: await self._store.subscriptions.take_ticket(snapshot.id)
            for snapshot in await self.of_account(account_uid)
            if not snapshot.is_over
        }
        kept = [
            (subscription, await self.keep(subscription, tickets.get(subscription["id"], 0)))
            for subscription in await self._stripe.list_subscriptions(customer_id)
            if self.is_ours(subscription)
        ]
        return [pair for pair in kept if pair[1].account_uid == account_uid]

    async def refresh_others(
        self, account_uid: str, refreshed: Collection[str]
    ) -> list[SubscriptionSnapshot]:
        """Refresh the account's subscriptions that another customer than the listed one holds.

        Args:
            account_uid: the account.
            refreshed: the ids of the subscriptions that were refreshed already.

        Returns:
            The snapshots of those that Stripe knows, and that are still to one of our products.
        """
        snapshots = []
        for known in await self.of_account(account_uid):
            if known.is_over or known.id in refreshed:
                continue
            try:
                snapshots.append(await self.refresh(known.id))
            except Reject:
                continue  # Stripe does not know it any more
        return [one for one in snapshots if one.product_id in self._product_ids]

    async def keep(self, subscription: StripeData, ticket: int) -> SubscriptionSnapshot:
        """Write the snapshot of a subscription that was fetched under `ticket`."""
        snapshot = await self.snapshot(subscription)
        await self._store.subscriptions.write(snapshot, ticket)
        return snapshot

    async def snapshot(self, subscription: StripeData) -> SubscriptionSnapshot:
        """Return our copy of Stripe's object.

        The account is the one that the subscription's metadata names: one customer may pay for
        several accounts. Else it is its customer's, present or former, and else the one of our
        present copy.
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
            raise Reject(f"not a subscription that we can read: {type(error).__name__}") from None
        if snapshot.plan_name is None:  # a list cannot be expanded as deep as the product
            name = self._catalog.known_plan_name(snapshot.price_id)
            snapshot = snapshot.model_copy(update={"plan_name": name})
        return snapshot

    # Reading our copies

    async def of_account(self, account_uid: str) -> list[SubscriptionSnapshot]:
        return await self._store.subscriptions.of_account(account_uid)

    async def current(self, account_uid: str) -> SubscriptionSnapshot | None:
        """The one subscription to show for an account, or None."""
        return primary_subscription(await self.of_account(account_uid))

    async def refresh_if_incomplete(self, account_uid: str) -> list[SubscriptionSnapshot]:
        """The account's snapshots. One that waits for its first payment is looked at again.

        Whoever has just paid watches that one, and the event that says so may be late.
        """
        snapshots = await self.of_account(account_uid)
        current = primary_subscription(snapshots)
        if current is None or current.status != "incomplete":
            return snapshots
        try:
            self._rate_limiter.take(account_uid)
            await self.refresh(current.id)
        except (StripeUnavailable, RateLimited, Reject):
            return snapshots  # our copies are ours to show
        return await self.of_account(account_uid)

    # Eligibility

    def is_eligible(self, snapshots: Collection[SubscriptionSnapshot]) -> bool:
        """Whether one of these lets its account buy credits."""
        now = self._clock()
        return any(allows_purchases(snapshot, self._product_ids, now) for snapshot in snapshots)

    async def may_buy(self, account_uid: str) -> bool:
        """Whether the account may buy credits, asking Stripe once where our copies say no.

        Somebody who has just subscribed is not refused because a webhook is on its way.
        """
        snapshots = await self.of_account(account_uid)
        if self.is_eligible(snapshots):
            return True
        customer_id = await self._store.customers.get(account_uid)
        customer_id = customer_id or next((known.customer_id for known in snapshots), None)
        if customer_id is None:
            return False
        try:
            refreshed = await self.refresh_all(account_uid, customer_id)
        except StripeCustomerMissing:
            refreshed = []  # it was deleted, and its subscriptions with it
        listed = [snapshot for _, snapshot in refreshed]
        others = await self.refresh_others(account_uid, {snapshot.id for snapshot in listed})
        return self.is_eligible([*listed, *others])


def primary_subscription(
    snapshots: Collection[SubscriptionSnapshot],
) -> SubscriptionSnapshot | None:
    """Of an account's subscriptions the liveliest, and of those the newest; None of none."""

    def rank(snapshot: SubscriptionSnapshot) -> tuple[int, float]:
        status = snapshot.status
        dullness = (
            _STATUS_PRIORITY.index(status) if status in _STATUS_PRIORITY else len(_STATUS_PRIORITY)
        )
        return dullness, -snapshot.created_at.timestamp()

    return min(snapshots, key=rank, default=None)


# A renewal's events may come late; a day's grace never refuses somebody who has paid.
GRACE = timedelta(days=1)


def allows_purchases(
    snapshot: SubscriptionSnapshot, product_ids: Collection[str], now: datetime
) -> bool:
    """Whether this subscription lets its account buy credits at `now`."""
    return (
        snapshot.status in {"active", "trialing"}
        and snapshot.product_id in product_ids
        and snapshot.interval == "month"
        and snapshot.interval_count == 1
        and snapshot.current_period_end is not None
        and now < snapshot.current_period_end + GRACE
    )
