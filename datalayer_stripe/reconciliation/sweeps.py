"""Find what Stripe has and the database lacks, and process it as if it had been delivered.

A run can be repeated, and is safe while the service runs: the plugins' marks and the ids of the
ledger's rows prevent a second effect.

https://docs.stripe.com/webhooks/process-undelivered-events
"""

from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta

from ..billing.credit_status import CreditStatuses
from ..billing.subscriptions import Subscriptions
from ..clock import Clock
from ..events import CUSTOMER_DELETED
from ..plugin_api.registry import Registry
from ..store import Store
from ..store.last_runs import RECONCILIATION
from ..stripe_api.client import StripeClient
from ..stripe_api.rate_limit import SWEEP_WAIT_SECONDS, own_calls
from ..webhooks.outcome import Outcome
from ..webhooks.processor import EventProcessor
from .customer_sweep import CustomerFinding, CustomerSweep
from .event_sweep import EventSweep
from .findings import GRACE_PERIOD, Finding, Report, Reporter
from .payment_sweep import PaymentSweep
from .redelivery import Redelivery
from .reversal_sweep import ReversalSweep
from .subscription_sweep import SubscriptionSweep


class Reconciliation:
    """One run of all sweeps. Use :meth:`.Service.reconciliation` to create one.

    Args:
        store: The database.
        stripe: The client of Stripe's API.
        registry: The plugins.
        processor: Processes an event as a delivery does.
        subscriptions: Makes snapshots of Stripe's subscriptions.
        credit_statuses: Says whether a payment was credited, rejected or neither.
        clock: Returns the present time.
        livemode: The mode of the service.
        dry_run: Whether to report only, and to change nothing.
        on_finding: As for :class:`.Reporter`.
        on_progress: As for :class:`.Reporter`.
        on_step: As for :class:`.Reporter`.
        report: Is filled during the run; by default a new one.
    """

    def __init__(  # noqa: PLR0913 (collaborators and callbacks)
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
        self._stripe = stripe
        self._clock = clock
        self._dry_run = dry_run
        self._last_runs = store.last_runs
        self._reporter = reporter = Reporter(
            report or Report(), on_finding=on_finding, on_progress=on_progress, on_step=on_step
        )
        self._redelivery = redelivery = Redelivery(
            store, registry, processor, clock, reporter, dry_run=dry_run
        )
        self._customers = CustomerSweep(store, stripe, subscriptions, clock, dry_run=dry_run)
        self._events = EventSweep(store, stripe, registry, redelivery, reporter)
        self._payments = PaymentSweep(store, stripe, credit_statuses, clock, redelivery, reporter)
        self._reversals = ReversalSweep(
            store, stripe, clock, redelivery, reporter, livemode=livemode
        )
        self._subscriptions = SubscriptionSweep(store, stripe, subscriptions, redelivery, reporter)

    async def run(self, since: datetime) -> Report:
        """Sweep the objects created since then, and all subscriptions.

        Args:
            since: The creation time of the oldest objects to check.

        Returns:
            The report.

        Raises:
            StripeUnavailable: Stripe does not answer.
            StoreUnavailable: The database does not answer.
        """
        started_at = self._clock()
        with own_calls(SWEEP_WAIT_SECONDS):
            await self._sweep_all(since)
        if not self._dry_run:
            await self._last_runs.record(RECONCILIATION, started_at)
        return self._reporter.report

    async def _sweep_all(self, since: datetime) -> None:
        await self._redelivery.load_first_seen()
        # Customers first: payments and subscriptions belong to the account of their customer.
        await self._sweep_customers(since)
        uncredited = [intent async for intent in self._payments.uncredited(since)]
        await self._events.run(since)
        # Payments after events: a payment whose event Stripe still has is credited by that event.
        for intent in uncredited:
            await self._payments.process(intent)
        await self._events.retry_failed()
        await self._reversals.run(since)
        await self._subscriptions.run()

    async def _sweep_customers(self, since: datetime) -> None:
        deleted = self._stripe.event_pages([CUSTOMER_DELETED], created_since=since)
        async for events in self._reporter.track("deleted customer", deleted):
            for finding in await self._customers.release_deleted(events):
                await self._report_customer(finding)
        created_before = self._clock() - (GRACE_PERIOD if self._dry_run else timedelta())
        pages = self._stripe.customer_pages(created_since=since)
        async for page in self._reporter.track("customer", pages):
            await self._customers.collect(page, created_before)
        async for finding in self._customers.rebuild():
            await self._report_customer(finding)

    async def _report_customer(self, finding: CustomerFinding) -> None:
        outcome = None if self._dry_run else Outcome.PROCESSED.value
        await self._reporter.add(Finding("customer", finding.customer_id, finding.detail, outcome))
