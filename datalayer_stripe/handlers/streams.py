"""The open streams, and how many there may be."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from prometheus_client import Gauge

from ..errors import RateLimited

# A browser opens one for each window that is looked at.
MOST_OF_ACCOUNT = 16
MOST = 4096


class Streams:
    """Counts the open streams, so that nobody's take all the room."""

    def __init__(self, gauge: Gauge) -> None:
        self._gauge = gauge
        self._open: Counter[str] = Counter()

    @contextmanager
    def one_more(self, account_uid: str) -> Iterator[None]:
        """Raises RateLimited when there is no room."""
        if self._open[account_uid] >= MOST_OF_ACCOUNT or self._open.total() >= MOST:
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
