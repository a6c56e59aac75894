"""Answer concurrent reads of single keys with one read of all of them."""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping
from typing import Generic, TypeVar

from ..tasks import retrieve_error

K = TypeVar("K")
V = TypeVar("V")

# A read that hangs must not stop the others.
MAX_CONCURRENT_READS = 4


class _Batch(Generic[K, V]):
    """Keys that one read returns the values of."""

    def __init__(self) -> None:
        self.keys: set[K] = set()
        self.read: asyncio.Task[Mapping[K, V]]


class BatchedRead(Generic[K, V]):
    """Reader of single keys, which reads the keys that are requested at the same time together.

    A read begins after each of its keys was requested, so that it is as new as a read for this key
    alone. A key that is requested alone is read at once.

    Args:
        read_all: Returns the values of several keys. Keys without a value are left out.
    """

    def __init__(self, read_all: Callable[[Collection[K]], Awaitable[Mapping[K, V]]]) -> None:
        self._read_all = read_all
        self._slots = asyncio.Semaphore(MAX_CONCURRENT_READS)
        self._collecting: _Batch[K, V] | None = None

    async def get(self, key: K) -> V | None:
        """Return the value of a key, or None if it has none.

        Raises:
            Exception: What `read_all` raises.
        """
        batch = self._collecting
        if batch is None:
            batch = self._collecting = _Batch()
            batch.read = asyncio.create_task(self._read(batch))
            batch.read.add_done_callback(retrieve_error)
        batch.keys.add(key)
        # Other callers wait for the same read: it continues if this one is cancelled.
        return (await asyncio.shield(batch.read)).get(key)

    async def _read(self, batch: _Batch[K, V]) -> Mapping[K, V]:
        try:
            await self._slots.acquire()
        finally:
            self._collecting = None
        try:
            return await self._read_all(batch.keys)
        finally:
            self._slots.release()
