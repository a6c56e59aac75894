"""Check whether the database accepts durable writes, for `/readyz`."""

import asyncio
import time
from collections.abc import Callable
from contextvars import Context

from ..errors import StoreUnavailable
from . import Store

# The result of a check is reused for this time, because the route is public.
FRESH_SECONDS = 1.0

# Load balancers wait a few seconds at most; the driver waits longer for a primary.
PROBE_SECONDS = 2.0


class DatabaseProbe:
    """Writes a small document with majority write concern. Concurrent callers share one write.

    Args:
        store: The database.
        monotonic: Returns seconds.
    """

    def __init__(self, store: Store, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._store = store
        self._monotonic = monotonic
        self._problem: str | None = None
        self._probed_at = float("-inf")
        self._probing: asyncio.Task[str | None] | None = None

    async def problem(self) -> str | None:
        """Return what is wrong with the database, or None. The result may be a second old."""
        if self._monotonic() - self._probed_at < FRESH_SECONDS:
            return self._problem
        if self._probing is None or self._probing.done():
            # The task has an empty context, because it does not belong to one caller's request.
            self._probing = asyncio.create_task(self._probe(), context=Context())
        return await asyncio.shield(self._probing)

    async def _probe(self) -> str | None:
        self._problem = await self._find_problem()
        self._probed_at = self._monotonic()
        return self._problem

    async def _find_problem(self) -> str | None:
        try:
            async with asyncio.timeout(PROBE_SECONDS):
                await self._store.ping()
        except (StoreUnavailable, TimeoutError):
            return "does not answer"
        try:
            async with asyncio.timeout(PROBE_SECONDS):
                await self._store.write_durably(seconds=PROBE_SECONDS)
        except (StoreUnavailable, TimeoutError):
            return "takes no durable writes: no majority of its replica set confirms them"
        return None
