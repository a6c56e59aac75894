"""Permits for the calls that the service makes to Stripe on its own account, and their rates.

A permit is a moment at which a call may start.
"""

import math
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import NamedTuple, Protocol

# The part of Stripe's limits that the service's own calls may use. The rest is for the calls of
# people's requests and for the SDK's retries.
_OWN_SHARE = 0.8

# In live mode Stripe allows 100 requests per second in all, and 25 to each endpoint. In test mode
# it allows 25 in all: https://docs.stripe.com/rate-limits.
_LIVE_ENDPOINTS = 4


@dataclass(frozen=True)
class CallRates:
    """How many calls per second the service makes on its own account.

    Attributes:
        total: Calls of all operations.
        operation: Calls of one operation.
    """

    total: float
    operation: float

    @classmethod
    def allowed_by(cls, requests_per_second: int, *, livemode: bool) -> "CallRates":
        """Return the service's share of what Stripe allows.

        Args:
            requests_per_second: The requests that Stripe allows to one endpoint.
            livemode: The mode of the secret key.
        """
        share = _OWN_SHARE * requests_per_second
        return cls(total=share * (_LIVE_ENDPOINTS if livemode else 1), operation=share)

    def reduced(self, factor: float) -> "CallRates":
        """Return the rates times a factor."""
        return CallRates(self.total * factor, self.operation * factor)


class Permits(NamedTuple):
    """Permits that were leased.

    `number` of them were granted, the first in `delay` seconds and each further one an interval
    later. If none was granted, the next one would be free in `delay` seconds.
    """

    number: int
    delay: float


class PermitSource(Protocol):
    """Where permits are leased from, such as the database that all processes share."""

    def lease(
        self, operation: str, number: int, *, max_wait: float, interval: float, total: float
    ) -> Awaitable[tuple[int, float]]:
        """Lease permits for one operation.

        Args:
            operation: The name of the call.
            number: The permits that are wanted.
            max_wait: How far ahead the last permit may be, in seconds.
            interval: The time between two calls of the operation, in seconds.
            total: The time between two calls of any operation, in seconds.

        Returns:
            The fields of :class:`Permits`.

        Raises:
            StoreUnavailable: The source does not answer.
        """


class LocalPermits:
    """The permits of one process.

    Args:
        monotonic: Returns the time in seconds.
    """

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._next = float("-inf")
        self._next_of: dict[str, float] = {}

    async def lease(
        self, operation: str, number: int, *, max_wait: float, interval: float, total: float
    ) -> tuple[int, float]:
        """Lease permits as :class:`PermitSource`."""
        now = self._monotonic()
        start = max(now, self._next, self._next_of.get(operation, now))
        granted = min(number, max(0, math.floor((now + max_wait - start) / interval) + 1))
        if granted:
            self._next = max(now, self._next) + granted * total
            self._next_of[operation] = start + granted * interval
        return granted, start - now


async def lease_from(
    source: PermitSource, rates: CallRates, operation: str, number: int, max_wait: float
) -> Permits:
    """Lease permits from a source at certain rates.

    Args:
        source: Where they are leased from.
        rates: The rates of the calls.
        operation: The name of the call.
        number: The permits that are wanted.
        max_wait: How far ahead the last permit may be, in seconds.

    Raises:
        StoreUnavailable: The source does not answer.
    """
    leased = await source.lease(
        operation,
        number,
        max_wait=max_wait,
        interval=1 / rates.operation,
        total=1 / rates.total,
    )
    return Permits(*leased)
