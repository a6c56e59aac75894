"""Limit the deliveries in flight, and the requests to Stripe that one account may cause."""

import math
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

from prometheus_client import Gauge
from throttled import RateLimiterType, Throttled, rate_limiter
from throttled.store import MemoryStore

from .errors import Overloaded, RateLimited

# One event type may use at most this many times the free capacity, that is 7/8 of the total.
_MAX_TYPE_RATIO = 7


class Admission:
    """Admission control: limit of the deliveries in flight, in total, by owner and by event type.

    Stripe delivers a refused event again. This is better than a queue in memory, in which a
    delivery would wait until its deadline has passed.

    An owner (an account or a customer) may have half as many deliveries in flight as there is
    capacity left, and an event type seven times as many. So a dozen accounts whose deliveries
    hang leave capacity for other accounts, and an event type whose plugin hangs leaves an eighth
    for other types.

    Deliveries that move money have an instance of their own. Plugins that hang and do not move
    money therefore never use its capacity.

    Args:
        gauge: The metric of the deliveries in flight.
        limit: Maximum deliveries in flight.
    """

    def __init__(self, gauge: Gauge, *, limit: int) -> None:
        self._gauge = gauge
        self._limit = limit
        self._in_flight = 0
        self._by_owner: Counter[str] = Counter()
        self._by_type: Counter[str] = Counter()

    @contextmanager
    def admit(self, owner: str, event_type: str) -> Iterator["Slot"]:
        """Hold a slot for one delivery, and release it at the end, even if it has moved.

        Args:
            owner: The account uid or customer id that the event belongs to.
            event_type: The type of the event.

        Raises:
            Overloaded: There is no free slot.
        """
        self.acquire(owner, event_type)
        slot = Slot(self, owner, event_type)
        try:
            yield slot
        finally:
            slot.admission.release(owner, event_type)

    def acquire(self, owner: str, event_type: str) -> None:
        """Take a slot.

        Args:
            owner: The account uid or customer id that the event belongs to.
            event_type: The type of the event.

        Raises:
            Overloaded: There is no free slot.
        """
        free = self._limit - self._in_flight
        if 2 * self._by_owner[owner] >= free or self._by_type[event_type] >= _MAX_TYPE_RATIO * free:
            raise Overloaded(retry_after=2)
        self._count(owner, event_type, 1)

    def release(self, owner: str, event_type: str) -> None:
        """Return a slot.

        Args:
            owner: The owner with which the slot was acquired.
            event_type: The event type with which the slot was acquired.
        """
        self._count(owner, event_type, -1)

    def _count(self, owner: str, event_type: str, number: int) -> None:
        self._in_flight += number
        self._gauge.inc(number)
        for counter, key in ((self._by_owner, owner), (self._by_type, event_type)):
            counter[key] += number
            if not counter[key]:
                del counter[key]


class Slot:
    """Slot of one delivery, in one :class:`Admission` at a time.

    Args:
        admission: Where the slot was acquired.
        owner: The owner with which it was acquired.
        event_type: The event type with which it was acquired.
    """

    def __init__(self, admission: Admission, owner: str, event_type: str) -> None:
        self.admission = admission
        self._owner = owner
        self._event_type = event_type

    def move_to(self, admission: Admission) -> None:
        """Move the slot to another :class:`Admission`, unless it is there already.

        Args:
            admission: Where to acquire a slot before the present one is released.

        Raises:
            Overloaded: `admission` has no free slot.
        """
        if admission is not self.admission:
            admission.acquire(self._owner, self._event_type)
            self.admission.release(self._owner, self._event_type)
            self.admission = admission


class AccountRateLimiter:
    """Rate limiter per account.

    Args:
        burst: Requests that an account may send at once.
        interval: Interval of its further requests, in seconds.
        max_accounts: Accounts in memory. Above it, the accounts that were inactive the longest are
            forgotten.
    """

    def __init__(self, *, burst: int, interval: int, max_accounts: int) -> None:
        self._throttled = Throttled(
            using=RateLimiterType.GCRA.value,
            quota=rate_limiter.per_duration(timedelta(seconds=interval), 1, burst=burst),
            store=MemoryStore(options={"MAX_SIZE": max_accounts}),
        )

    def take(self, account_uid: str) -> None:
        """Count one request of an account.

        Args:
            account_uid: The uid of the account.

        Raises:
            RateLimited: The account has sent too many requests. The error has the seconds to wait.
        """
        result = self._throttled.limit(account_uid)
        if result.limited:
            seconds = max(1, math.ceil(result.state.retry_after))
            raise RateLimited(
                f"Too many requests from this account. Please try again in {seconds} s.",
                retry_after=seconds,
            )
