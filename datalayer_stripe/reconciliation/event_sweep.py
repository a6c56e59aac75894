"""Process the events in Stripe's list that were not delivered, or not processed completely."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime

from ..events import Event
from ..plugin_api.registry import Registry
from ..store import Store
from ..stripe_api.client import StripeClient
from ..webhooks.outcome import Outcome
from .findings import Finding, Reporter
from .redelivery import Redelivery
from .rejections import can_retry_rejection


class EventSweep:
    """Sweep of the events of the last 30 days.

    Args:
        store: The database.
        stripe: The client of Stripe's API.
        registry: The plugins. Only the event types of their handlers are listed.
        redelivery: Processes the events.
        reporter: Gets the findings.
    """

    def __init__(
        self,
        store: Store,
        stripe: StripeClient,
        registry: Registry,
        redelivery: Redelivery,
        reporter: Reporter,
    ) -> None:
        self._store = store
        self._stripe = stripe
        self._types = frozenset(registry.types)
        self._redelivery = redelivery
        self._reporter = reporter
        self._failed: list[tuple[Finding, frozenset[str]]] = []

    async def run(self, since: datetime) -> None:
        """Process the unfinished events that were created since then."""
        pages = self._stripe.event_pages(sorted(self._types), created_since=since)
        async for page in self._reporter.track("event", pages):
            events = [Event.model_validate(data) for data in page if data["type"] in self._types]
            runs = await self._store.events.runs([event.id for event in events])
            for event in events:
                await self._process(event, runs.get(event.id, {}))

    async def retry_failed(self) -> None:
        """Process again the events that have failed, and report how they ended.

        Stripe lists the newest events first, so an event may have failed because it needs an older
        one, as a refund needs its top-up.
        """
        for finding, excluded in self._failed:
            outcome = await self._redelivery.replay(finding.id, excluded)
            await self._reporter.add(replace(finding, outcome=outcome))

    async def _process(self, event: Event, runs: Mapping[str, str]) -> None:
        redelivery = self._redelivery
        excluded = redelivery.excluded_plugins(event, runs)
        unfinished = redelivery.unfinished_plugins(event.type, runs) - excluded
        if not unfinished or event.account or redelivery.is_too_recent("event", event.created):
            return
        rejected = redelivery.is_rejected(event.type, unfinished, runs)
        if rejected and not await can_retry_rejection(self._store, event, unfinished):
            self._reporter.report.rejected += 1
            return
        detail = f"{event.type}: {', '.join(sorted(unfinished))}"
        outcome = None if redelivery.dry_run else await redelivery.process(event, excluded)
        finding = Finding("event", event.id, detail, outcome)
        if outcome == Outcome.FAILED:
            self._failed.append((finding, excluded))
        else:
            await self._reporter.add(finding)
