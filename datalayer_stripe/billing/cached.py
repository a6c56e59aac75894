"""A value that is fetched again after a short time, by one caller for all who wait."""

import asyncio
from collections.abc import Awaitable, Callable
from contextvars import Context
from typing import Generic, TypeVar

from ..errors import RateLimited, StripeUnavailable

FRESH_SECONDS = 60.0
# While Stripe does not answer, what was true a moment ago may still be shown.
STALE_SECONDS = 3600.0
# And Stripe is not asked again by every request meanwhile.
RETRY_SECONDS = 5.0

T = TypeVar("T")


class Cached(Generic[T]):
    """`fetch` is awaited when the value is older than `FRESH_SECONDS`.

    `monotonic` returns seconds. What `fetch` raises reaches everyone who waits for it, unless it
    is Stripe's unavailability and a value not older than `STALE_SECONDS` is at hand.
    """

    def __init__(self, fetch: Callable[[], Awaitable[T]], monotonic: Callable[[], float]) -> None:
        self._fetch = fetch
        self._monotonic = monotonic
        self._value: T | None = None
        self._fetched_at = self._ask_again_at = float("-inf")
        self._fetching: asyncio.Task[T] | None = None

    @property
    def latest(self) -> T | None:
        """The value that was fetched last, however old."""
        return self._value

    def forget(self) -> None:
        """Drop the value, and leave a fetch that is under way to those who asked before."""
        self._value = None
        self._ask_again_at = float("-inf")
        self._fetching = None

    async def get(self) -> T:
        if self._value is not None and self._monotonic() < self._ask_again_at:
            return self._value
        if self._fetching is None or self._fetching.done():
            # In a context of its own: it is everybody's, and no line of its log is one caller's.
            self._fetching = asyncio.create_task(self._refresh(), context=Context())
        return await asyncio.shield(self._fetching)

    async def _refresh(self) -> T:
        task = asyncio.current_task()
        try:
            value = await self._fetch()
        except (StripeUnavailable, RateLimited):
            if self._value is None or self._monotonic() - self._fetched_at > STALE_SECONDS:
                raise
            self._ask_again_at = self._monotonic() + RETRY_SECONDS
            return self._value
        # What was asked for before a change must not outlive the change.
        if task is self._fetching:
            self._value, self._fetched_at = value, self._monotonic()
            self._ask_again_at = self._fetched_at + FRESH_SECONDS
        return value
