"""How much is worked on at once: what comes beyond that is refused quickly, to come again.

Stripe delivers again what is refused; what waits in memory until it is too late is worse than
that. One account may take a part of the room only, so that its slow deliveries leave room for
everybody else's.
"""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from prometheus_client import Gauge

from .errors import Overloaded

MOST = 256
MOST_OF_ONE = 64


class Admission:
    """Counts what is in flight, in all and for each key (an account, a customer, an object)."""

    def __init__(self, gauge: Gauge, *, most: int = MOST, most_of_one: int = MOST_OF_ONE) -> None:
        self._gauge = gauge
        self._most = most
        self._most_of_one = most_of_one
        self._in_flight: Counter[str] = Counter()

    @contextmanager
    def admitted(self, key: str) -> Iterator[None]:
        """Room for one. Raises Overloaded when there is none."""
        if self._in_flight.total() >= self._most or self._in_flight[key] >= self._most_of_one:
            raise Overloaded(retry_after=2)
        self._in_flight[key] += 1
        self._gauge.set(self._in_flight.total())
        try:
            yield
        finally:
            self._in_flight[key] -= 1
            if not self._in_flight[key]:
                del self._in_flight[key]
            self._gauge.set(self._in_flight.total())
