"""Heal what was never delivered, by the same plugins as a delivery.

Whose customer is whose comes first: see :mod:`.reconcile_customers`.

Sweeps: Stripe's own events, which it keeps for 30 days; succeeded PaymentIntents with our
metadata; refunds and disputes that are older than the events; subscriptions of our products. Each
finds what our books lack and, unless it is a dry run, processes an event of it as if Stripe had
delivered that. Safe while the service runs, and when run twice: the marks and the ledger's ids see
to that.

docs.stripe.com/webhooks/process-undelivered-events
"""

import logging
import uuid
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from ..billing.credit_status import CreditStatuses
from ..billing.metadata import CREDITS, is_ours
from ..billing.subscriptions import Subscriptions
from ..clock import Clock
from ..errors import Reject, StoreUnavailable, StripeUnavailable
from ..events import PAYMENT_SUCCEEDED, Event
from ..models import SubscriptionSnapshot
from ..plugin_api.registry import Registry
from ..store import Store
from ..store.events import DEFERRED, HANDLED, REJECTED
from ..stripe_api.client import StripeClient
from ..stripe_api.objects import StripeData, metadata_of, paid_at, with_charge_id
from ..stripe_api.transport import STRIPE_VERSION
from ..webhooks.outcome import Outcome
from ..webhooks.processor import EventProcessor
from .customers import CUSTOMER_DELETED, CustomerFinding, CustomerSweep
from .reversals import rejected_too_soon, unrecorded_reversals

logger = logging.getLogger(__name__)

# What is younger may be on its way: no finding of a dry run, which counts it instead.
IN_FLIGHT = timedelta(minutes=5)
# How long Stripe keeps events: docs.stripe.com/api/events.
EVENTS_KEPT = timedelta(days=30)


REPAIR_COMMAND = "datalayer-stripe audit --repair --yes"

NEEDS_REPAIR = "needs repair"
"""The outcome of a finding that no event can heal, and `audit --repair` does."""


@dataclass(frozen=True)
class Finding:
    """Something that our books lack, and what became of it; `outcome` is None in a dry run."""

    kind: str
    id: str
    detail: str
    outcome: str | None


@dataclass
class Report:
    """How much was looked at, and what was found.

    `rejected` ones wait for the operator; `young` ones, by kind, were not judged.
    """

    checked: Counter[str] = field(default_factory=Counter)
    young: Counter[str] = field(default_factory=Counter)
    rejected: int = 0
    found: Counter[tuple[str, str | None]] = field(default_factory=Counter)


class Reconciliation:
    """One run.

    `on_finding` sees each finding at once; `on_progress` how many of a kind were checked, and
    when the last of them was created, 0 at the end of a sweep; `on_step` is awaited after each
    page and each healing. `report` is filled as the run goes on, and is returned.
    """

    def __init__(  # noqa: PLR0913 (its parts, and who watches it)
        self,
        store: Store,
        stripe: StripeClient,
        registry: Registry,
        processor: EventProcessor,
        subscriptions: Subscriptions,
        credit_statuses: CreditStatuses,
        clock: Clock,
        *,
        livemode: bool,
        dry_run: bool = False,
        on_finding: Callable[[Finding], None] = lambda _: None,
        on_progress: Callable[[str, int, int], None] = lambda *_: None,
        on_step: Callable[[], Awaitable[None]] | None = None,
        report: Report | None = None,
    ) -> None:
        self._store = store
        self._stripe = stripe
        self._registry = registry
        self._processor = processor
        self._livemode = livemode
        self._subscriptions = subscriptions
        self._credit_statuses = credit_statuses
        self._clock = clock
        self._dry_run = dry_run
        self._on_finding = on_finding
        self._on_progress = on_progress
        self._on_step = on_step
        self._report = report or Report()
        self._types = frozenset(registry.types)
        self._put_off: list[tuple[Finding, frozenset[str]]] = []
        self._first_seen: Mapping[str, datetime] = {}

    async def run(self, since: datetime) -> Report:
        """Sweep what was created since then; subscriptions all.

        Raises StripeUnavailable or StoreUnavailable when there is no going on.
        """
        await self._note_plugins()
        # First, since payments and subscriptions are judged by whose customer has paid.
        await self._sweep_customers(since)
        uncredited = [intent async for intent in self._uncredited_payments(since)]
        await self._sweep_events(since)
        # Those whose events Stripe still has are credited by now, under their events' own ids.
        for intent in uncredited:
            await self._heal_payment(intent)
        await self._heal_put_off()
        await self._sweep_reversals(since)
        await self._sweep_subscriptions()
        return self._report

    # Customers

    async def _sweep_customers(self, since: datetime) -> None:
        sweep = CustomerSweep(
            self._store, self._stripe, self._subscriptions, self._clock, dry_run=self._dry_run
        )
        deleted = self._stripe.event_pages([CUSTOMER_DELETED], created_since=since)
        async for events in self._progress("deleted customer", deleted):
            for finding in await sweep.release(events):
                await self._tell_of_customer(finding)
        created_before = self._clock() - (IN_FLIGHT if self._dry_run else timedelta())
        pages = self._stripe.customer_pages(created_since=since)
        async for page in self._progress("customer", pages):
            await sweep.take(page, created_before)
        async for finding in sweep.rebuild():
            await self._tell_of_customer(finding)

    async def _tell_of_customer(self, finding: CustomerFinding) -> None:
        outcome = None if self._dry_run else Outcome.PROCESSED.value
        await self._tell(Finding("customer", finding.customer_id, finding.detail, outcome))

    # Events

    async def _sweep_events(self, since: datetime) -> None:
        pages = self._stripe.event_pages(self._registry.types, created_since=since)
        async for page in self._progress("event", pages):
            events = [Event.model_validate(data) for data in page if data["type"] in self._types]
            runs = await self._store.events.runs([event.id for event in events])
            for event in events:
                await self._heal_event(event, runs.get(event.id, {}))

    async def _heal_event(self, event: Event, runs: Mapping[str, str]) -> None:
        too_new = self._too_new(event, runs)
        undone = self._undone(event.type, runs) - too_new
        if not undone or event.account or self._may_be_on_its_way("event", event.created):
            return
        rejected = self._is_rejected(event.type, undone, runs)
        if rejected and not await rejected_too_soon(self._store, event, undone):
            self._report.rejected += 1
            return
        detail = f"{event.type}: {', '.join(sorted(undone))}"
        outcome = None if self._dry_run else await self._process(event, too_new)
        finding = Finding("event", event.id, detail, outcome)
        if outcome == Outcome.FAILED:
            self._put_off.append((finding, too_new))
        else:
            await self._tell(finding)

    async def _heal_put_off(self) -> None:
        """Try again what has failed: the newest come first, and may have waited for an older."""
        for finding, too_new in self._put_off:
            work = self._processor.replay(finding.id, without=too_new)
            outcome = await self._outcome(work)
            await self._tell(replace(finding, outcome=outcome))

    def _undone(self, event_type: str, runs: Mapping[str, str]) -> set[str]:
        names = {plugin.name for plugin in self._registry.plugins_for(event_type)}
        return {name for name in names if runs.get(name) not in HANDLED}

    def _is_rejected(self, event_type: str, undone: set[str], runs: Mapping[str, str]) -> bool:
        """Whether another run would change nothing before an operator has acted.

        A plugin that moves money and has rejected the event holds those back that do not.
        """
        rejected = {name for name in undone if runs.get(name) == REJECTED}
        money = self._registry.money_on(event_type)
        waiting = undone & money if rejected & money else undone
        return waiting <= rejected

    def _too_new(self, event: Event, runs: Mapping[str, str]) -> frozenset[str]:
        """The plugins that were installed after the event, have not begun it, and do not catch up.

        One that this database has never seen is being installed now.
        """
        return frozenset(
            plugin.name
            for plugin in self._registry.plugins_for(event.type)
            if not plugin.catch_up
            and plugin.name not in runs
            and event.created < int(self._first_seen.get(plugin.name, self._clock()).timestamp())
        )

    async def _note_plugins(self) -> None:
        if not self._dry_run:
            names = [plugin.name for plugin in self._registry.plugins]
            await self._store.first_seen.note(names, self._clock())
        self._first_seen = await self._store.first_seen.read()

    def _may_be_on_its_way(self, kind: str, since: int) -> bool:
        """Return whether it is too young for a dry run to judge, and count it if so."""
        young = self._dry_run and since > (self._clock() - IN_FLIGHT).timestamp()
        self._report.young[kind] += young
        return young

    # Payments

    async def _uncredited_payments(self, since: datetime) -> AsyncIterator[StripeData]:
        pages = self._stripe.payment_intent_pages(created_since=since)
        async for page in self._progress("payment", pages):
            paid = [one for one in page if one["status"] == "succeeded" and is_ours(one)]
            credited = await self._store.ledger.existing([intent["id"] for intent in paid])
            for intent in paid:
                if intent["id"] not in credited:
                    yield intent

    async def _heal_payment(self, intent: StripeData) -> None:
        intent_id = intent["id"]
        status = await self._credit_statuses.of_payment(intent_id)
        if status.is_credited:
            return
        kept = status.event
        runs = {name: run.status for name, run in kept.handlers.items()} if kept else {}
        undone = self._undone(PAYMENT_SUCCEEDED, runs)
        if DEFERRED in runs.values() and not undone:
            return  # somebody has it in hand
        detail = f"{metadata_of(intent).get(CREDITS)} credits"
        if kept and not undone:
            await self._tell_of_lost_row(intent_id, detail)
            return
        if kept and self._is_rejected(PAYMENT_SUCCEEDED, undone, runs):
            self._report.rejected += 1
            return
        if self._event_is_still_listed(intent) and not (kept or self._dry_run):
            return  # the next run finds it: an event of our own making would run plugins twice
        if self._may_be_on_its_way("payment", paid_at(intent)):
            return
        event_id = kept.id if kept else f"reconciled-{intent_id}"
        event = _event(event_id, PAYMENT_SUCCEEDED, with_charge_id(intent))
        await self._heal("payment", intent_id, detail, event, runs)

    async def _tell_of_lost_row(self, intent_id: str, detail: str) -> None:
        """Tell of a payment whose event is done and whose ledger row is missing.

        Plugins do not run again on an event that they have finished, so no event heals it.
        """
        outcome = None if self._dry_run else NEEDS_REPAIR
        detail = f"{detail}, done without a ledger row: run `{REPAIR_COMMAND}`"
        await self._tell(Finding("payment", intent_id, detail, outcome))

    def _event_is_still_listed(self, intent: StripeData) -> bool:
        return bool(intent["created"] > (self._clock() - EVENTS_KEPT).timestamp())

    # Refunds and disputes

    async def _sweep_reversals(self, since: datetime) -> None:
        """Those of whose events Stripe may have none any more: the others' have been swept."""
        before = self._clock() - EVENTS_KEPT
        if since >= before:
            return
        for kind, pages in (
            ("refund", self._stripe.refund_pages(created_since=since, created_before=before)),
            ("dispute", self._stripe.dispute_pages(created_since=since, created_before=before)),
        ):
            async for page in self._progress(kind, pages):
                for found in await unrecorded_reversals(self._store, page):
                    if not found.comparable:
                        self._report.rejected += 1
                        continue
                    object_id = found.data["id"]
                    event_id = f"reconciled-{object_id}-{uuid.uuid4().hex[:8]}"
                    # A refund does not say which mode it is of.
                    data = {"livemode": self._livemode, **found.data}
                    event = _event(event_id, found.event_type, data)
                    await self._heal(kind, object_id, found.detail, event, {})

    # Subscriptions

    async def _sweep_subscriptions(self) -> None:
        async for page in self._progress("subscription", self._stripe.subscription_pages()):
            kept = await self._store.subscriptions.by_ids([data["id"] for data in page])
            for data in page:
                if self._subscriptions.is_ours(data) or data["id"] in kept:
                    await self._compare_subscription(data, kept.get(data["id"]))

    async def _compare_subscription(
        self, data: StripeData, ours: SubscriptionSnapshot | None
    ) -> None:
        try:
            theirs = await self._subscriptions.make_snapshot(data)
        except Reject as signal:  # the others can be read all the same
            logger.warning("reconcile: unreadable", extra={"id": data["id"], "why": signal.reason})
            self._report.rejected += 1
            return
        if theirs.account_uid is None:
            self._report.rejected += 1  # as its events are: nobody knows whose it is
        elif not _same(theirs, ours):
            await self._heal_subscription(theirs.id)

    async def _heal_subscription(self, subscription_id: str) -> None:
        # Between the list and our reading it may have changed at both ends: look again.
        data = await self._stripe.retrieve_subscription(subscription_id)
        theirs = await self._subscriptions.make_snapshot(data)
        kept = await self._store.subscriptions.by_ids([subscription_id])
        if _same(theirs, kept.get(subscription_id)):
            return
        ours = kept[subscription_id].status if subscription_id in kept else "unknown to us"
        event_id = f"reconciled-{subscription_id}-{uuid.uuid4().hex[:8]}"
        event = _event(event_id, "customer.subscription.updated", data)
        detail = f"{ours}, at Stripe {theirs.status}"
        await self._heal("subscription", subscription_id, detail, event, {})

    # All

    async def _heal(
        self, kind: str, object_id: str, detail: str, event: Event, runs: Mapping[str, str]
    ) -> None:
        outcome = None if self._dry_run else await self._process(event, self._too_new(event, runs))
        await self._tell(Finding(kind, object_id, detail, outcome))

    async def _process(self, event: Event, too_new: frozenset[str]) -> str:
        return await self._outcome(self._processor.process(event, without=too_new))

    async def _tell(self, finding: Finding) -> None:
        kind, outcome = finding.kind, finding.outcome
        self._report.found[kind, outcome] += 1
        self._on_finding(finding)
        logger.info("reconcile", extra={"kind": kind, "id": finding.id, "outcome": outcome})
        await self._step()

    async def _outcome(self, work: Awaitable[Outcome]) -> str:
        """The outcome, in a word. One that cannot be healed keeps no other from it."""
        try:
            return (await work).value
        except (StripeUnavailable, StoreUnavailable):
            raise
        except Exception:
            logger.exception("reconcile: not healed")
            return Outcome.FAILED.value

    async def _progress(
        self, kind: str, pages: AsyncIterator[Sequence[dict[str, Any]]]
    ) -> AsyncIterator[Sequence[dict[str, Any]]]:
        async for page in pages:
            yield page
            self._report.checked[kind] += len(page)
            if page:
                self._on_progress(kind, self._report.checked[kind], page[-1]["created"])
            await self._step()
        self._on_progress(kind, self._report.checked[kind], 0)

    async def _step(self) -> None:
        if self._on_step is not None:
            await self._on_step()


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
