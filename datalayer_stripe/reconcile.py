"""Heal what was never delivered, by the same plugins as a delivery.

Three sweeps: Stripe's own events, which it keeps for 30 days; succeeded PaymentIntents with our
metadata; subscriptions of our products. Each finds what our books lack and, unless it is a dry
run, processes an event of it as if Stripe had delivered that. Safe while the service runs, and
when run twice: the marks and the ledger's ids see to that.

docs.stripe.com/webhooks/process-undelivered-events
"""

import logging
import uuid
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from .billing.subscriptions import Subscriptions
from .billing.topups import METADATA_KEYS
from .delivery import Deliveries
from .events import Event
from .models import SubscriptionSnapshot
from .registry import Registry
from .shapes import StripeData, metadata_of
from .store import Store
from .store.events import DONE, REJECTED
from .stripe_client import STRIPE_VERSION, StripeClient

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Finding:
    """Something that our books lack, and what became of it; `outcome` is None in a dry run."""

    kind: str
    id: str
    detail: str
    outcome: str | None


@dataclass
class Report:
    """How much was looked at, and what was found. Rejected ones wait for the operator."""

    checked: Counter[str] = field(default_factory=Counter)
    rejected: int = 0
    found: Counter[tuple[str, str | None]] = field(default_factory=Counter)


class Reconciliation:
    """One run.

    `on_finding` sees each finding at once, `on_progress` how many were checked so far; `on_page`
    is awaited after each page.
    """

    def __init__(  # noqa: PLR0913 (its parts, and who watches it)
        self,
        store: Store,
        stripe: StripeClient,
        registry: Registry,
        deliveries: Deliveries,
        subscriptions: Subscriptions,
        *,
        dry_run: bool = False,
        on_finding: Callable[[Finding], None] = lambda _: None,
        on_progress: Callable[[str, int], None] = lambda *_: None,
        on_page: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        self._store = store
        self._stripe = stripe
        self._registry = registry
        self._deliveries = deliveries
        self._subscriptions = subscriptions
        self._dry_run = dry_run
        self._on_finding = on_finding
        self._on_progress = on_progress
        self._on_page = on_page
        self._report = Report()
        self._types = frozenset(registry.types)

    async def run(self, since: datetime) -> Report:
        """Sweep what was created since then; subscriptions all. Raises StripeUnavailable."""
        await self._sweep_events(since)
        await self._sweep_payments(since)
        await self._sweep_subscriptions()
        return self._report

    # Events

    async def _sweep_events(self, since: datetime) -> None:
        pages = self._stripe.event_pages(self._registry.types, created_since=since)
        async for page in self._progress("event", pages):
            events = [Event.model_validate(data) for data in page if data["type"] in self._types]
            runs = await self._store.events.runs([event.id for event in events])
            for event in events:
                await self._heal_event(event, runs.get(event.id, {}))

    async def _heal_event(self, event: Event, runs: dict[str, str]) -> None:
        names = {plugin.name for plugin in self._registry.plugins_for(event.type)}
        undone = {name for name in names if runs.get(name) != DONE}
        if not undone or event.account:
            return
        if all(runs.get(name) == REJECTED for name in undone):
            self._report.rejected += 1
            return
        await self._heal("event", event.id, f"{event.type}: {', '.join(sorted(undone))}", event)

    # Payments

    async def _sweep_payments(self, since: datetime) -> None:
        pages = self._stripe.payment_intent_pages(created_since=since)
        async for page in self._progress("payment", pages):
            paid = {
                intent["id"]: intent
                for intent in page
                if intent["status"] == "succeeded" and METADATA_KEYS & metadata_of(intent).keys()
            }
            credited = await self._store.ledger.existing(list(paid))
            for intent_id in paid.keys() - credited:
                await self._heal_payment(paid[intent_id])

    async def _heal_payment(self, intent: StripeData) -> None:
        kept = await self._store.events.of_object(intent["id"], "payment_intent.succeeded")
        if kept is not None and kept.rejected:
            self._report.rejected += 1
            return
        # Under the event's own id, where we have seen it, so that no plugin runs twice.
        event_id = kept.id if kept else f"reconciled-{intent['id']}"
        detail = f"{metadata_of(intent).get('credits')} credits"
        event = _event(event_id, "payment_intent.succeeded", intent)
        await self._heal("payment", intent["id"], detail, event)

    # Subscriptions

    async def _sweep_subscriptions(self) -> None:
        async for page in self._progress("subscription", self._stripe.subscription_pages()):
            ours = [data for data in page if self._subscriptions.is_ours(data)]
            kept = await self._store.subscriptions.by_ids([data["id"] for data in ours])
            for data in ours:
                theirs = await self._subscriptions.snapshot(data)
                if not _same(theirs, kept.get(data["id"])):
                    await self._heal_subscription(data["id"])

    async def _heal_subscription(self, subscription_id: str) -> None:
        # Between the list and our reading it may have changed at both ends: look again.
        data = await self._stripe.retrieve_subscription(subscription_id)
        theirs = await self._subscriptions.snapshot(data)
        kept = await self._store.subscriptions.by_ids([subscription_id])
        if _same(theirs, kept.get(subscription_id)):
            return
        ours = kept[subscription_id].status if subscription_id in kept else "unknown to us"
        event_id = f"reconciled-{subscription_id}-{uuid.uuid4().hex[:8]}"
        event = _event(event_id, "customer.subscription.updated", data)
        detail = f"{ours}, at Stripe {theirs.status}"
        await self._heal("subscription", subscription_id, detail, event)

    # All

    async def _heal(self, kind: str, object_id: str, detail: str, event: Event) -> None:
        outcome = None if self._dry_run else (await self._deliveries.process(event)).value
        finding = Finding(kind, object_id, detail, outcome)
        self._report.found[kind, outcome] += 1
        self._on_finding(finding)
        logger.warning("reconcile", extra={"kind": kind, "id": object_id, "outcome": outcome})

    async def _progress(
        self, kind: str, pages: AsyncIterator[Sequence[dict[str, Any]]]
    ) -> AsyncIterator[Sequence[dict[str, Any]]]:
        async for page in pages:
            yield page
            self._report.checked[kind] += len(page)
            self._on_progress(kind, self._report.checked[kind])
            if self._on_page is not None:
                await self._on_page()


def _event(event_id: str, event_type: str, data: StripeData) -> Event:
    """An event that Stripe no longer has, or never sent, of an object that it has."""
    return Event.model_validate(
        {
            "id": event_id,
            "type": event_type,
            "created": data["created"],
            "livemode": data["livemode"],
            "api_version": STRIPE_VERSION,
            "data": {"object": data},
        }
    )


def _same(theirs: SubscriptionSnapshot, ours: SubscriptionSnapshot | None) -> bool:
    # A list cannot be expanded as deep as the product's name.
    return ours is not None and theirs == ours.model_copy(update={"plan_name": theirs.plan_name})
