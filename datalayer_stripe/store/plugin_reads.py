"""Limit the concurrent reads of the plugins' own collections."""

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable
from typing import TypeVar

from ..tasks import retrieve_error

# Limits the concurrent reads of one plugin in a process. Its other reads wait.
MAX_PLUGIN_READS = 4

R = TypeVar("R")


class PluginReads:
    """Limits the concurrent reads of each collection."""

    def __init__(self) -> None:
        self._slots: defaultdict[str, asyncio.Semaphore] = defaultdict(
            lambda: asyncio.Semaphore(MAX_PLUGIN_READS)
        )

    async def run(self, collection: str, read: Callable[[], Awaitable[R]]) -> R:
        """Wait until fewer reads of the collection are running, and return what `read` returns.

        If the caller is cancelled, the read continues, as it does on the server, and counts until
        it ends.

        Args:
            collection: The name of the collection.
            read: Reads from the collection.
        """
        slots = self._slots[collection]
        await slots.acquire()
        reading = asyncio.ensure_future(read())
        reading.add_done_callback(lambda _: slots.release())
        reading.add_done_callback(retrieve_error)
        return await asyncio.shield(reading)
