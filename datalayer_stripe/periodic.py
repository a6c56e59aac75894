"""Reconcile every so often while the service runs: one process at a time, by a lease."""

import asyncio
import logging
import uuid
from datetime import timedelta

from .clock import Clock
from .errors import RequestError
from .service import Service

logger = logging.getLogger(__name__)

LEASE = "reconcile"
# Renewed as the sweeps go on; ends by itself when the process that has it dies.
_LEASE_LENGTH = timedelta(minutes=10)
# As far back as Stripe itself still delivers again.
LOOK_BACK = timedelta(days=3)
_LONGEST_PAUSE = timedelta(minutes=1)


class PeriodicReconciliation:
    """Start :meth:`run` as a task, and cancel it at the end."""

    def __init__(self, service: Service, *, interval: timedelta, clock: Clock) -> None:
        self._service = service
        self._interval = interval
        self._clock = clock
        self._holder = uuid.uuid4().hex

    async def run(self) -> None:
        """Look every so often whether it is due, and do it when it is ours to do."""
        pause = min(self._interval, _LONGEST_PAUSE).total_seconds()
        while True:
            await asyncio.sleep(pause)
            try:
                await self.run_if_due()
            except RequestError as error:
                logger.warning("reconcile: put off", extra={"error": error.message})
            except Exception:
                logger.exception("reconcile: put off")

    async def run_if_due(self) -> bool:
        """Reconcile, if it is due and no other process does; whether it was done."""
        leases = self._service.store.leases
        begun = self._clock()
        if not await leases.take(LEASE, self._holder, begun, _LEASE_LENGTH):
            return False
        due_at = begun  # at once, by anybody, if this one fails
        try:
            reconciliation = self._service.reconciliation(on_page=self._renew)
            report = await reconciliation.run(begun - LOOK_BACK)
            due_at = begun + self._interval
            logger.info(
                "reconciled",
                extra={"checked": dict(report.checked), "found": report.found.total()},
            )
        finally:
            await leases.give_back(LEASE, self._holder, self._clock(), due_at)
        return True

    async def _renew(self) -> None:
        await self._service.store.leases.renew(LEASE, self._holder, self._clock(), _LEASE_LENGTH)
