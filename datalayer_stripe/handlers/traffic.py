"""Count the requests in progress and the open streams."""

import asyncio
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from prometheus_client import Gauge

from ..errors import RateLimited


class RequestTracker:
    """Tracker of the requests in progress, so that a shutdown can wait for them.

    Args:
        gauge: The metric of the requests in progress.
    """

    def __init__(self, gauge: Gauge) -> None:
        self.draining = False
        """Whether the service is shutting down."""
        self.in_progress = 0
        """Number of requests in progress."""
        self._gauge = gauge
        self._on_drain: set[Callable[[], None]] = set()
        self._idle = asyncio.Event()
        self._idle.set()

    def begin(self) -> None:
        """Count a request that begins. :meth:`end` must follow."""
        self.in_progress += 1
        self._idle.clear()
        self._gauge.set(self.in_progress)

    def end(self) -> None:
        """Count the end of a request."""
        self.in_progress -= 1
        self._gauge.set(self.in_progress)
        if not self.in_progress:
            self._idle.set()

    def drain(self) -> None:
        """Begin the shutdown: close connections after their response, and end the streams."""
        self.draining = True
        for callback in tuple(self._on_drain):
            callback()

    @contextmanager
    def on_drain(self, callback: Callable[[], None]) -> Iterator[None]:
        """Register a callback for the start of the shutdown.

        Args:
            callback: Called once without arguments, in the event loop.
        """
        self._on_drain.add(callback)
        try:
            yield
        finally:
            self._on_drain.discard(callback)

    async def wait_until_idle(self) -> None:
        """Wait until no request is in progress."""
        await self._idle.wait()


class StreamLimiter:
    """Limit of the open streams, for each account and for the process.

    Args:
        gauge: The metric of the open streams.
    """

    def __init__(self, gauge: Gauge) -> None:
        self._gauge = gauge
        self._max_streams = self._max_per_account = 0
        self._open: Counter[str] = Counter()

    def set_limits(self, *, max_streams: int, max_per_account: int) -> None:
        """Set the limits. Before, no stream can be opened.

        Args:
            max_streams: Maximum open streams of the process.
            max_per_account: Maximum open streams of an account.
        """
        self._max_streams, self._max_per_account = max_streams, max_per_account

    @contextmanager
    def track(self, account_uid: str) -> Iterator[None]:
        """Count a stream while it is open.

        Args:
            account_uid: The uid of the account that opens it.

        Raises:
            RateLimited: The account or the process has too many open streams.
        """
        if self._open[account_uid] >= self._max_per_account:
            raise RateLimited("Too many streams are open. Close other tabs.", retry_after=30)
        if self._open.total() >= self._max_streams:
            raise RateLimited("Too many streams are open. Try again later.", retry_after=30)
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
