"""The requests that are being worked on, so that a shutdown can let them finish."""

import asyncio
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from prometheus_client import Gauge

from ..errors import RateLimited


class RequestTracker:
    def __init__(self, gauge: Gauge) -> None:
        self.draining = False
        """Whether the service is shutting down, and wants no new requests."""
        self._gauge = gauge
        self._running = 0
        self._on_drain: set[Callable[[], None]] = set()
        self._idle = asyncio.Event()
        self._idle.set()

    @contextmanager
    def track(self) -> Iterator[None]:
        """Count a request while it is worked on."""
        self._running += 1
        self._idle.clear()
        self._gauge.set(self._running)
        try:
            yield
        finally:
            self._running -= 1
            self._gauge.set(self._running)
            if not self._running:
                self._idle.set()

    def drain(self) -> None:
        """Want no new requests, and let those end that would go on for ever."""
        self.draining = True
        for callback in tuple(self._on_drain):
            callback()

    @contextmanager
    def on_drain(self, callback: Callable[[], None]) -> Iterator[None]:
        """Call back when the service begins to shut down."""
        self._on_drain.add(callback)
        try:
            yield
        finally:
            self._on_drain.discard(callback)

    async def idle(self) -> None:
        """Return when nothing is being worked on."""
        await self._idle.wait()


# A browser opens one for each window that is looked at.
MAX_STREAMS_PER_ACCOUNT = 16
MAX_STREAMS = 4096


class Streams:
    """Counts the open streams, so that nobody's take all the room."""

    def __init__(self, gauge: Gauge) -> None:
        self._gauge = gauge
        self._open: Counter[str] = Counter()

    @contextmanager
    def track(self, account_uid: str) -> Iterator[None]:
        """Raises RateLimited when there is no room."""
        if self._open[account_uid] >= MAX_STREAMS_PER_ACCOUNT or self._open.total() >= MAX_STREAMS:
            raise RateLimited("There are too many open streams.", retry_after=30)
        self._count(account_uid, 1)
        try:
            yield
        finally:
            self._count(account_uid, -1)

    def _count(self, account_uid: str, number: int) -> None:
        self._open[account_uid] += number
        if not self._open[account_uid]:
            del self._open[account_uid]
        self._gauge.set(self._open.total())
