"""Keep the gauge of events that a plugin has failed or rejected and not finished since."""

import asyncio
import logging
import random
from contextlib import suppress
from itertools import product

from ..errors import StoreUnavailable
from ..metrics import Metrics
from ..plugin_api.registry import Registry
from ..store import Store
from ..store.events import FAILED, REJECTED

logger = logging.getLogger(__name__)

# A scrape reads what the last refresh has counted, so that scrapes cost the database nothing.
REFRESH_SECONDS = 60.0


class OpenEvents:
    """Count open events by installed plugin.

    :meth:`start` and :meth:`stop` it in the service's event loop.
    """

    def __init__(self, store: Store, registry: Registry, metrics: Metrics) -> None:
        self._store = store
        self._gauge = metrics.events_open
        self._task: asyncio.Task[None] | None = None
        plugins = (*registry.plugins, *registry.disabled)
        self._keys = tuple(product((FAILED, REJECTED), (plugin.name for plugin in plugins)))
        for key in self._keys:
            self._gauge.labels(*key).set(0)

    def start(self) -> None:
        self._task = asyncio.create_task(self._run())

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task
            self._task = None

    async def refresh(self) -> None:
        """Count once. Raises StoreUnavailable."""
        for key in self._keys:
            self._gauge.labels(*key).set(await self._store.events.open_count(*key))

    async def _run(self) -> None:
        while True:
            try:
                await self.refresh()
            except StoreUnavailable as error:
                cause = type(error.__cause__).__name__
                logger.warning("open events not counted", extra={"cause": cause})
            except Exception:
                logger.exception("open events not counted")
            # The jitter keeps several processes from counting at the same moment.
            await asyncio.sleep(REFRESH_SECONDS * random.uniform(0.8, 1.2))  # noqa: S311
