"""Bound the deliveries in flight, and the requests to Stripe that one account may cause.

Limit how many deliveries are worked on at once: more are refused quickly, to be sent again.

Stripe delivers again what is refused, which is better than waiting in memory until it is too late.
Nobody's deliveries may take all the room: one account may have half as many in flight as there is
room left, and one event type seven times as many. So a dozen accounts whose deliveries hang leave
room for another's, and one type that hangs leaves an eighth for the others.

What moves money has an `Admission` of its own: plugins that hang and move no money leave it free.
"""

import math
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

from prometheus_client import Gauge
from throttled import RateLimiterType, Throttled, rate_limiter
from throttled.store import MemoryStore

from .errors import Overloaded, RateLimited

MAX_DELIVERIES_IN_FLIGHT = 256
_TYPE_SHARE = 7


class Admission:
    """Counts what is in flight: in all, by owner (an account, a customer), and by event type."""

    def __init__(self, gauge: Gauge, *, most: int = MAX_DELIVERIES_IN_FLIGHT) -> None:
        self._gauge = gauge
        self._most = most
        self._in_flight = 0
        self._by_owner: Counter[str] = Counter()
        self._by_type: Counter[str] = Counter()

    @contextmanager
    def admitted(self, owner: str, event_type: str) -> Iterator["Slot"]:
        """Take room for one delivery, and give it back at the end, wherever it is by then.

        Raises:
            Overloaded: there is no room.
        """
        self.enter(owner, event_type)
        slot = Slot(self, owner, event_type)
        try:
            yield slot
        finally:
            slot.admission.leave(owner, event_type)

    def enter(self, owner: str, event_type: str) -> None:
        """Count one more. Raises Overloaded."""
        free = self._most - self._in_flight
        if 2 * self._by_owner[owner] >= free or self._by_type[event_type] >= _TYPE_SHARE * free:
            raise Overloaded(retry_after=2)
        self._count(owner, event_type, 1)

    def leave(self, owner: str, event_type: str) -> None:
        """Count one less."""
        self._count(owner, event_type, -1)

    def _count(self, owner: str, event_type: str, number: int) -> None:
        self._in_flight += number
        self._gauge.inc(number)
        for counter, key in ((self._by_owner, owner), (self._by_type, event_type)):
            counter[key] += number
            if not counter[key]:
                del counter[key]


class Slot:
    """The room that one delivery takes, in one `Admission` at a time."""

    def __init__(self, admission: Admission, owner: str, event_type: str) -> None:
        self.admission = admission
        self._owner = owner
        self._event_type = event_type

    def move_to(self, admission: Admission) -> None:
        """Take room there instead, if it is not there already.

        Raises:
            Overloaded: there is no room there.
        """
        if admission is not self.admission:
            admission.enter(self._owner, self._event_type)
            self.admission.leave(self._owner, self._event_type)
            self.admission = admission


BURST = 20
SECONDS_PER_REQUEST = 3

# Beyond that those are forgotten who have asked for nothing for the longest time.
MAX_TRACKED_ACCOUNTS = 10_000


class AccountRateLimiter:
    """`burst` requests without a pause, and one more whenever `seconds_per_request` have passed."""

    def __init__(
        self, *, burst: int = BURST, seconds_per_request: int = SECONDS_PER_REQUEST
    ) -> None:
        self._throttled = Throttled(
            using=RateLimiterType.GCRA.value,
            quota=rate_limiter.per_duration(timedelta(seconds=seconds_per_request), 1, burst=burst),
            store=MemoryStore(options={"MAX_SIZE": MAX_TRACKED_ACCOUNTS}),
        )

    def take(self, account_uid: str) -> None:
        """Count one request. Raises RateLimited, with the seconds to wait, when it is too many."""
        result = self._throttled.limit(account_uid)
        if result.limited:
            seconds = max(1, math.ceil(result.state.retry_after))
            raise RateLimited(
                f"Too many requests from this account. Please try again in {seconds} s.",
                retry_after=seconds,
            )
