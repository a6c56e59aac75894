"""Count open events: those that a plugin has failed or rejected and not finished since.

The age of the oldest unfinished event is measured, too.
"""

import asyncio
import logging
import random
from datetime import datetime
from itertools import product

from ..clock import Clock
from ..errors import StoreUnavailable
from ..metrics import Metrics
from ..plugin_api.registry import Registry
from ..store import Store
from ..store.event_records import DEFERRED, FAILED, REJECTED
from ..tasks import cancel_and_wait

logger = logging.getLogger(__name__)

# A scrape reads the numbers of the last refresh, so that scrapes do not query the database.
REFRESH_SECONDS = 60.0


class OpenEvents:
    """Counts the open events of each installed plugin, in the event loop of the service."""

    def __init__(self, store: Store, registry: Registry, metrics: Metrics, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._gauge = metrics.events_open
        self._age = metrics.oldest_event_age
        self._last_success = metrics.task_last_success.labels("open_events")
        self._task: asyncio.Task[None] | None = None
        plugins = (*registry.plugins, *registry.disabled)
        self._keys = tuple(product((FAILED, REJECTED), (plugin.name for plugin in plugins)))
        self._counts = dict.fromkeys(self._keys, 0)
        for key in self._keys:
            self._gauge.labels(*key).set(0)
        for status in (FAILED, REJECTED, DEFERRED):
            self._age.labels(status).set(0)

    def start(self) -> None:
        """Begin to count every 60 s."""
        self._task = asyncio.create_task(self._run())

    async def stop(self) -> None:
        """Stop counting."""
        if self._task is not None:
            await cancel_and_wait(self._task)
            self._task = None

    async def refresh(self) -> None:
        """Count once.

        Raises:
            StoreUnavailable: The database does not answer.
        """
        for key in self._keys:
            self._counts[key] = await self._store.events.open_count(*key)
            self._gauge.labels(*key).set(self._counts[key])

    async def measure_age(self) -> None:
        """Measure the age of the oldest failed, rejected and deferred event, after a count.

        Raises:
            StoreUnavailable: The database does not answer.
        """
        oldest: dict[str, list[datetime | None]] = {FAILED: [], REJECTED: []}
        for (status, plugin), number in self._counts.items():
            if number:
                oldest[status].append(await self._store.events.oldest_open(status, plugin))
        oldest[DEFERRED] = [await self._store.jobs.oldest()]
        now = self._clock()
        for status, found in oldest.items():
            ages = [(now - received_at).total_seconds() for received_at in filter(None, found)]
            self._age.labels(status).set(max([0.0, *ages]))

    async def _run(self) -> None:
        while True:
            try:
                await self.refresh()
                await self.measure_age()
                self._last_success.set(self._clock().timestamp())
            except StoreUnavailable as error:
                cause = type(error.__cause__).__name__
                logger.warning("cannot count open events", extra={"cause": cause})
            except Exception:
                logger.exception("cannot count open events")
            # The jitter keeps several processes from counting at the same moment.
            await asyncio.sleep(REFRESH_SECONDS * random.uniform(0.8, 1.2))  # noqa: S311
