"""How much is worked on at once: what comes beyond that is refused quickly, to come again.

Stripe delivers again what is refused; what waits in memory until it is too late is worse than
that. Nobody's deliveries may take all the room: one account may have half as many in flight as
there is room left, and one event type seven times as many. So a dozen accounts whose deliveries
hang leave room for another's, and one type that hangs leaves an eighth for the others.
"""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from prometheus_client import Gauge

from .errors import Overloaded

MOST = 256
_TYPE_SHARE = 7


class Admission:
    """Counts what is in flight: in all, by owner (an account, a customer), and by event type."""

    def __init__(self, gauge: Gauge, *, most: int = MOST) -> None:
        self._gauge = gauge
        self._most = most
        self._in_flight = 0
        self._by_owner: Counter[str] = Counter()
        self._by_type: Counter[str] = Counter()

    @contextmanager
    def admitted(self, owner: str, event_type: str) -> Iterator[None]:
        """Room for one. Raises Overloaded when there is none."""
        free = self._most - self._in_flight
        if 2 * self._by_owner[owner] >= free or self._by_type[event_type] >= _TYPE_SHARE * free:
            raise Overloaded(retry_after=2)
        self._count(owner, event_type, 1)
        try:
            yield
        finally:
            self._count(owner, event_type, -1)

    def _count(self, owner: str, event_type: str, number: int) -> None:
        self._in_flight += number
        self._gauge.set(self._in_flight)
        for counter, key in ((self._by_owner, owner), (self._by_type, event_type)):
            counter[key] += number
            if not counter[key]:
                del counter[key]
