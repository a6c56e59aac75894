"""Reconcile every so often while the service runs: one process at a time, by a lease."""

import asyncio
import logging
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from datetime import datetime, timedelta
from functools import partial

from ..errors import DatalayerStripeError, RequestError, StoreUnavailable
from ..service import Service
from ..store.leases import Lease

logger = logging.getLogger(__name__)

LEASE = "reconcile"
# Renewed as the sweeps go on; ends by itself when the process that has it dies.
_LEASE_LENGTH = timedelta(minutes=10)
# As far back as Stripe itself still delivers again; further, to where the last run began, after a
# longer outage; and not further than Stripe keeps events.
_LOOK_BACK = timedelta(days=3)
_MAX_LOOK_BACK = timedelta(days=30)
_OVERLAP = timedelta(hours=1)
_MAX_CHECK_INTERVAL = timedelta(minutes=1)
_RETRY_BACKOFF = timedelta(minutes=10)


class LeaseLost(DatalayerStripeError):
    """The lease has ended, and another process has it."""


class PeriodicReconciliation:
    """Start :meth:`run` as a task, and cancel it at the end.

    Args:
        service: what reconciles.
        interval: from one reconciliation to the next.
        now: tells the time that all processes share; the database server's unless given.
    """

    def __init__(
        self,
        service: Service,
        *,
        interval: timedelta,
        now: Callable[[], Awaitable[datetime]] | None = None,
    ) -> None:
        self._service = service
        self._interval = interval
        self._now = now or partial(service.store.now, service.clock)
        self._holder = uuid.uuid4().hex

    async def run(self) -> None:
        """Look every so often whether it is due, and do it when it is ours to do."""
        pause = min(self._interval, _MAX_CHECK_INTERVAL).total_seconds()
        while True:
            await asyncio.sleep(pause)
            try:
                await self.run_if_due()
            except (RequestError, LeaseLost) as error:
                logger.warning("reconcile: put off", extra={"error": str(error)})
            except Exception:
                logger.exception("reconcile: put off")

    async def run_if_due(self) -> bool:
        """Reconcile, if it is due and no other process does; return whether it was done.

        What is due when is told by the database server's time: a process whose own clock is wrong
        does not keep the others from reconciling.
        """
        leases, begun = self._service.store.leases, await self._now()
        lease = await leases.take(
            LEASE, self._holder, begun, _LEASE_LENGTH, interval=self._interval
        )
        if lease is None:
            await self.tell_last_success()
            return False
        due_at, done_until = begun + min(self._interval, _RETRY_BACKOFF), None
        try:
            reconciliation = self._service.reconciliation(on_step=self._renew)
            report = await reconciliation.run(_since(lease, begun))
            due_at, done_until = begun + self._interval, begun
            logger.info(
                "reconciled",
                extra={"checked": dict(report.checked), "found": report.found.total()},
            )
        finally:
            await leases.give_back(
                LEASE, self._holder, await self._now(), due_at=due_at, done_until=done_until
            )
        await self.tell_last_success()
        return True

    async def tell_last_success(self) -> None:
        """Set the gauge of the last success, whichever process had it."""
        done_until = await self._service.store.leases.done_until(LEASE)
        if done_until is not None:
            # One that a wrong clock has written must not hide that nothing is done any more.
            known = min(done_until, await self._now())
            self._service.metrics.reconcile_last_success.set(known.timestamp())

    async def _renew(self) -> None:
        now = await self._now()
        if not await self._service.store.leases.renew(LEASE, self._holder, now, _LEASE_LENGTH):
            raise LeaseLost("another process reconciles now")


@asynccontextmanager
async def reconciling(service: Service) -> AsyncIterator[None]:
    """Reconcile every so often meanwhile, unless the interval is 0."""
    interval = service.settings.stripe_reconcile_interval
    if not interval:
        yield
        return
    periodic = PeriodicReconciliation(service, interval=timedelta(seconds=interval))
    with suppress(StoreUnavailable):  # the task tells it, too
        await periodic.tell_last_success()
    task = asyncio.create_task(periodic.run())
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


def _since(lease: Lease, now: datetime) -> datetime:
    if lease.done_until is None:
        return now - _MAX_LOOK_BACK
    return max(now - _MAX_LOOK_BACK, min(now - _LOOK_BACK, lease.done_until - _OVERLAP))
