"""Update subscription snapshots that differ from Stripe."""

import logging
import uuid

from ..billing.subscriptions import Subscriptions
from ..errors import Reject
from ..events import SUBSCRIPTION_UPDATED
from ..models import SubscriptionSnapshot
from ..store import Store
from ..stripe_api.client import StripeClient
from ..stripe_api.objects import StripeData
from .findings import Reporter
from .redelivery import Redelivery, synthetic_event

logger = logging.getLogger(__name__)


class SubscriptionSweep:
    """Sweep of the subscriptions to the products of the service.

    Args:
        store: The database.
        stripe: The client of Stripe's API.
        subscriptions: Makes snapshots of Stripe's subscriptions.
        redelivery: Processes the events of the subscriptions.
        reporter: Gets the findings.
    """

    def __init__(
        self,
        store: Store,
        stripe: StripeClient,
        subscriptions: Subscriptions,
        redelivery: Redelivery,
        reporter: Reporter,
    ) -> None:
        self._store = store
        self._stripe = stripe
        self._subscriptions = subscriptions
        self._redelivery = redelivery
        self._reporter = reporter

    async def run(self) -> None:
        """Compare all subscriptions at Stripe with their snapshots."""
        pages = self._stripe.subscription_pages()
        async for page in self._reporter.track("subscription", pages):
            snapshots = await self._store.subscriptions.by_ids([data["id"] for data in page])
            for data in page:
                if self._subscriptions.is_ours(data) or data["id"] in snapshots:
                    await self._compare(data, snapshots.get(data["id"]))

    async def _compare(self, data: StripeData, stored: SubscriptionSnapshot | None) -> None:
        try:
            current = await self._subscriptions.make_snapshot(data)
        except Reject as signal:  # The other subscriptions can still be compared.
            logger.warning(
                "reconcile: a subscription cannot be read",
                extra={"id": data["id"], "why": signal.reason},
            )
            self._reporter.report.rejected += 1
            return
        if current.account_uid is None:
            self._reporter.report.rejected += 1  # Its account is unknown: its events are rejected.
        elif not _is_same(current, stored):
            await self._update(current.id)

    async def _update(self, subscription_id: str) -> None:
        # The subscription and its snapshot may have changed since the page was read: compare again.
        data = await self._stripe.retrieve_subscription(subscription_id)
        current = await self._subscriptions.make_snapshot(data)
        snapshots = await self._store.subscriptions.by_ids([subscription_id])
        stored = snapshots.get(subscription_id)
        if _is_same(current, stored):
            return
        event_id = f"reconciled-{subscription_id}-{uuid.uuid4().hex[:8]}"
        event = synthetic_event(event_id, SUBSCRIPTION_UPDATED, data)
        detail = f"{stored.status if stored else 'unknown'} here, {current.status} at Stripe"
        await self._redelivery.redeliver("subscription", subscription_id, detail, event, {})


def _is_same(current: SubscriptionSnapshot, stored: SubscriptionSnapshot | None) -> bool:
    # Stripe's list cannot be expanded as deep as the product's name, so the names are not compared.
    return stored is not None and current == stored.model_copy(
        update={"plan_name": current.plan_name}
    )
