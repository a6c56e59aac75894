"""A service: its parts, what it runs, and its start and end."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from .administration.administration import Administration
from .auth import BearerTokens
from .billing.cards import Cards
from .billing.catalog import Catalog
from .billing.checkout import Checkout
from .billing.configuration_faults import ConfigurationFaults
from .billing.credit_status import CreditStatuses
from .billing.customers import Customers
from .billing.history import History
from .billing.plans import Plans
from .billing.portal import Portal
from .billing.reversals import Reversals
from .billing.subscriptions import Subscriptions
from .billing.top_ups import TopUps
from .clock import Clock
from .doctor.account import StripeAccount
from .doctor.context import CheckContext
from .doctor.startup import CheckResults, StartupChecks
from .limits import AccountRateLimiter
from .metrics import Metrics
from .metrics.event_loop import EventLoopMonitor
from .plugin_api.lifespan import Lifespans
from .plugin_api.registry import Registry
from .reconciliation.acceptance import Acceptance
from .reconciliation.audit import Audit
from .reconciliation.on_demand import TopUpStatuses
from .reconciliation.periodic import PeriodicReconciliation
from .reconciliation.repair import Repairs
from .reconciliation.sweeps import Reconciliation
from .settings import Settings, read_environment
from .store import Store
from .store.readiness import DatabaseProbe
from .stripe_api.client import StripeClient
from .webhooks.delivery import Deliveries
from .webhooks.metric_series import create_series
from .webhooks.observers import Observers
from .webhooks.open_events import OpenEvents
from .webhooks.processor import EventProcessor
from .webhooks.worker import Worker

logger = logging.getLogger(__name__)

# How long a shutdown waits for deliveries past their deadline and for deferred jobs.
_SHUTDOWN_SECONDS = 4

DISABLED_MONEY_PLUGIN = (
    "The plugin %s moves money and is disabled: its credits are NOT added or taken back"
)


@dataclass(frozen=True)
class Service:
    """The parts of a service. Use :func:`.open_service` in the event loop that it runs in.

    Call :meth:`start` before it serves, and :meth:`close` at the end, whether it was started or
    not.
    """

    settings: Settings
    clock: Clock
    store: Store
    stripe: StripeClient
    metrics: Metrics
    registry: Registry
    bearer_tokens: BearerTokens
    rate_limiter: AccountRateLimiter
    catalog: Catalog
    configuration_faults: ConfigurationFaults
    customers: Customers
    subscriptions: Subscriptions
    plans: Plans
    cards: Cards
    checkout: Checkout
    topups: TopUps
    credit_statuses: CreditStatuses
    reversals: Reversals
    portal: Portal
    history: History
    observers: Observers
    processor: EventProcessor
    deliveries: Deliveries
    topup_statuses: TopUpStatuses
    lifespans: Lifespans
    worker: Worker
    database_probe: DatabaseProbe
    open_events: OpenEvents
    event_loop_monitor: EventLoopMonitor
    check_results: CheckResults
    administration: Administration

    def reconciliation(self, **options: Any) -> Reconciliation:
        """Return a run that finds and processes what was never delivered.

        Args:
            options: Keyword arguments of :class:`.Reconciliation`.
        """
        return Reconciliation(
            self.store,
            self.stripe,
            self.registry,
            self.processor,
            self.subscriptions,
            self.credit_statuses,
            self.clock,
            livemode=self.settings.livemode,
            **options,
        )

    def periodic_reconciliation(
        self, *, now: Callable[[], Awaitable[datetime]] | None = None
    ) -> PeriodicReconciliation:
        """Return the task that reconciles every `stripe_reconcile_interval` seconds.

        Args:
            now: Returns the time that all processes share; by default that of the database server.
        """
        return PeriodicReconciliation(
            self.reconciliation,
            self.store,
            self.metrics,
            self.clock,
            interval=timedelta(seconds=self.settings.stripe_reconcile_interval),
            now=now,
        )

    def startup_checks(self, *, webhook_path: str, examines: bool = True) -> StartupChecks:
        """Return the task that checks the set-up when the service starts.

        Args:
            webhook_path: The path of the webhook, below the address of the service.
            examines: Whether this process runs the checks. If not, it reads what another one has
                found.
        """
        return StartupChecks(
            lambda: self.check_context(webhook_path),
            self.check_results,
            self.store.check_reports,
            self.clock,
            examines=examines,
        )

    def check_context(self, webhook_path: str) -> CheckContext:
        """Return what the checks of the set-up look at.

        Args:
            webhook_path: The path of the webhook, below the address of the service.
        """
        environment = read_environment(folder=self.settings.stripe_secrets_dir)
        return CheckContext(
            environ=environment.values,
            webhook_path=webhook_path,
            hidden_files=environment.hidden,
            faults=environment.faults,
            found_settings=self.settings,
            found_registry=self.registry,
            found_store=self.store,
            found_account=StripeAccount(self.stripe, self.settings, self.clock),
            clock=self.clock,
        )

    def audit(self, **options: Any) -> Audit:
        """Return a run that compares the ledger with the balances and with Stripe.

        Args:
            options: Keyword arguments of :class:`.Audit`.
        """
        return Audit(
            self.store, self.stripe, self.registry, self.credit_statuses, self.clock, **options
        )

    def repairs(self) -> Repairs:
        """Return what repairs the differences that an audit has found."""
        return Repairs(
            self.store,
            self.stripe,
            self.topups,
            self.reversals,
            self.clock,
            floor_balances=self.settings.stripe_negative_balance == "debt",
        )

    def acceptance(self) -> Acceptance:
        """Return what credits a rejected payment by an operator's decision."""
        return Acceptance(
            self.store,
            self.stripe,
            self.registry,
            self.credit_statuses,
            self.repairs(),
            self.clock,
        )

    async def start(self) -> None:
        """Create the metrics' series, open the plugins' lifespans, and begin to run deferred jobs.

        Raises:
            PluginError: A plugin cannot start.
            StoreUnavailable: The database does not answer.
        """
        for name in self.registry.disabled_money_plugins:
            logger.warning(DISABLED_MONEY_PLUGIN, name)
        for warning in self.registry.unknown_type_warnings:
            logger.warning(warning)
        create_series(self.metrics, self.registry)
        names = [plugin.name for plugin in self.registry.plugins]
        await self.store.first_seen.note(names, self.clock())
        await self.lifespans.start()
        self.worker.start()
        self.open_events.start()
        self.event_loop_monitor.start()

    async def close(self) -> None:
        """Wait a while for what still runs, close the plugins' lifespans, and close the clients."""
        await asyncio.gather(
            self._wait_for_deliveries(), self.worker.stop(seconds=_SHUTDOWN_SECONDS)
        )
        self.event_loop_monitor.stop()
        await self.open_events.stop()
        await self.lifespans.stop()
        await self.stripe.close()
        await self.store.close()

    async def _wait_for_deliveries(self) -> None:
        try:
            async with asyncio.timeout(_SHUTDOWN_SECONDS):
                await self.deliveries.idle()
        except TimeoutError:
            logger.warning("Deliveries were cut by the shutdown; Stripe delivers them again")
