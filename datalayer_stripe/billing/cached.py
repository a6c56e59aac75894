"""Cache of one value that is fetched again after a short time."""

import asyncio
from collections.abc import Awaitable, Callable
from contextvars import Context
from typing import Generic, TypeVar

from ..errors import RateLimited, StripeUnavailable
from ..tasks import retrieve_error

FRESH_SECONDS = 60.0
"""Age at which the value is fetched again, in seconds."""

STALE_SECONDS = 3600.0
"""Age up to which the value is returned while Stripe is unavailable, in seconds."""

RETRY_SECONDS = 5.0
"""Backoff after a failed fetch, in seconds."""

T = TypeVar("T")


class Cached(Generic[T]):
    """Cache of one value. Concurrent callers wait for the same fetch.

    Args:
        fetch: Returns a new value.
        monotonic: Returns the time in seconds.
    """

    def __init__(self, fetch: Callable[[], Awaitable[T]], monotonic: Callable[[], float]) -> None:
        self._fetch = fetch
        self._monotonic = monotonic
        self._value: T | None = None
        self._fetched_at = self._expires_at = float("-inf")
        self._fetching: asyncio.Task[T] | None = None

    @property
    def latest(self) -> T | None:
        """The value that was fetched last, of any age; None after :meth:`clear`."""
        return self._value

    def clear(self) -> None:
        """Drop the value. A fetch in progress still returns to its callers, but is not cached."""
        self._value = None
        self._expires_at = float("-inf")
        self._fetching = None

    async def get(self) -> T:
        """Return the value, and fetch it first if it is too old.

        Raises:
            StripeUnavailable: The fetch failed, and there is no value younger than
                :data:`STALE_SECONDS`.
            RateLimited: As for StripeUnavailable. Any other error of `fetch` is always raised.
        """
        if self._value is not None and self._monotonic() < self._expires_at:
            return self._value
        if self._fetching is None or self._fetching.done():
            # The fetch is shared by several callers. The empty context keeps the request fields
            # of the first caller out of its log lines.
            self._fetching = asyncio.create_task(self._refresh(), context=Context())
            self._fetching.add_done_callback(retrieve_error)
        return await asyncio.shield(self._fetching)

    async def _refresh(self) -> T:
        task = asyncio.current_task()
        try:
            value = await self._fetch()
        except (StripeUnavailable, RateLimited):
            if self._value is None or self._monotonic() - self._fetched_at > STALE_SECONDS:
                raise
            self._expires_at = self._monotonic() + RETRY_SECONDS
            return self._value
        # After `clear`, this fetch may have read the old prices. Do not cache it.
        if task is self._fetching:
            self._value, self._fetched_at = value, self._monotonic()
            self._expires_at = self._fetched_at + FRESH_SECONDS
        return value
