"""Reconcile periodically while the service runs, in one process at a time."""

import asyncio
import logging
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from datetime import datetime, timedelta
from functools import partial

from ..clock import Clock
from ..errors import LeaseLost, RequestError, StoreUnavailable
from ..metrics import Metrics
from ..store import Store
from ..store.leases import Lease
from ..tasks import cancel_and_wait
from .findings import EVENT_RETENTION
from .sweeps import Reconciliation

logger = logging.getLogger(__name__)

LEASE = "reconcile"
# The lease is renewed after each step of a run. It expires if the process that holds it crashes.
_LEASE_DURATION = timedelta(minutes=10)
# A run covers the days in which Stripe itself still retries deliveries. After a longer outage it
# covers the time since the last run, but not more than Stripe keeps events.
_LOOK_BACK = timedelta(days=3)
_OVERLAP = timedelta(hours=1)
_MAX_CHECK_INTERVAL = timedelta(minutes=1)
_RETRY_BACKOFF = timedelta(minutes=10)


class PeriodicReconciliation:
    """Periodic task. Use :meth:`.Service.periodic_reconciliation` to create one.

    Args:
        create_reconciliation: Returns a new run. It takes the keyword argument `on_step` of
            :class:`.Reconciliation`.
        store: The database. It holds the lease.
        metrics: Have the gauge of the last success.
        clock: Returns the present time of this process. It is used on `memory://` only.
        interval: The time from one run to the next; 0 for never.
        now: Returns the time that all processes share; by default that of the database server.
    """

    def __init__(
        self,
        create_reconciliation: Callable[..., Reconciliation],
        store: Store,
        metrics: Metrics,
        clock: Clock,
        *,
        interval: timedelta,
        now: Callable[[], Awaitable[datetime]] | None = None,
    ) -> None:
        self._create_reconciliation = create_reconciliation
        self._leases = store.leases
        self._last_success = metrics.reconcile_last_success
        self._interval = interval
        self._now = now or partial(store.now, clock)
        self._holder = uuid.uuid4().hex

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Run the task inside the `async with` block, unless the interval is 0."""
        if not self._interval:
            yield
            return
        with suppress(StoreUnavailable):  # The task logs it.
            await self.update_last_success()
        task = asyncio.create_task(self._run())
        try:
            yield
        finally:
            await cancel_and_wait(task)

    async def _run(self) -> None:
        """Check periodically whether a run is due, and run it."""
        pause = min(self._interval, _MAX_CHECK_INTERVAL).total_seconds()
        while True:
            await asyncio.sleep(pause)
            try:
                await self.run_if_due()
            except (RequestError, LeaseLost) as error:
                logger.warning("reconcile: postponed", extra={"error": str(error)})
            except Exception:
                logger.exception("reconcile: postponed")

    async def run_if_due(self) -> bool:
        """Reconcile if it is due and no other process reconciles.

        The database server's clock decides when it is due, so that a process with a wrong clock
        does not stop the others from reconciling.

        Returns:
            Whether this process has reconciled.

        Raises:
            LeaseLost: Another process has taken the lease.
            StripeUnavailable: Stripe does not answer.
            StoreUnavailable: The database does not answer.
        """
        started_at = await self._now()
        lease = await self._leases.take(
            LEASE, self._holder, started_at, _LEASE_DURATION, interval=self._interval
        )
        if lease is None:
            await self.update_last_success()
            return False
        due_at, done_until = started_at + min(self._interval, _RETRY_BACKOFF), None
        try:
            reconciliation = self._create_reconciliation(on_step=self._renew_lease)
            report = await reconciliation.run(_since(lease, started_at))
            due_at, done_until = started_at + self._interval, started_at
            logger.info(
                "reconciled",
                extra={"checked": dict(report.checked), "found": report.found.total()},
            )
        finally:
            await self._leases.release(
                LEASE, self._holder, await self._now(), due_at=due_at, done_until=done_until
            )
        await self.update_last_success()
        return True

    async def update_last_success(self) -> None:
        """Set the gauge of the last success in any process.

        Raises:
            StoreUnavailable: The database does not answer.
        """
        done_until = await self._leases.done_until(LEASE)
        if done_until is not None:
            # A time in the future, written by a wrong clock, would hide that runs fail.
            last_success = min(done_until, await self._now())
            self._last_success.set(last_success.timestamp())

    async def _renew_lease(self) -> None:
        now = await self._now()
        if not await self._leases.renew(LEASE, self._holder, now, _LEASE_DURATION):
            raise LeaseLost("another process reconciles now")


def _since(lease: Lease, now: datetime) -> datetime:
    if lease.done_until is None:
        return now - EVENT_RETENTION
    return max(now - EVENT_RETENTION, min(now - _LOOK_BACK, lease.done_until - _OVERLAP))
