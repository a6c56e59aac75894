"""Limit the calls that the service makes to Stripe on its own account, such as refreshes.

Stripe allows a number of requests per second to each endpoint, and to all endpoints together:
https://docs.stripe.com/rate-limits. Calls within :func:`own_calls` wait for a permit. Permits are
moments in time, one after the other, which all processes lease from the database. So the calls of
all processes are spread evenly. The calls of people's requests need no permit: they have the share
of the limit that the service does not use itself.
"""

import asyncio
import logging
import math
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from ..errors import RateLimited, StoreUnavailable
from .permits import CallRates, LocalPermits, Permits, PermitSource, lease_from

logger = logging.getLogger(__name__)

DELIVERY_WAIT_SECONDS = 1.0
"""How long a call of a delivery waits for its permit. If it had to wait longer, it is refused."""

JOB_WAIT_SECONDS = 2.0
"""How long a call of a deferred job waits for its permit."""

SWEEP_WAIT_SECONDS = 30.0
"""How long a call of a reconciliation waits for its permit."""

# Without the database, a process does not know how many others there are.
_FALLBACK_SHARE = 0.25

_MAX_BACKOFF_SECONDS = 30.0

_max_wait: ContextVar[float | None] = ContextVar("max_wait", default=None)


@contextmanager
def own_calls(max_wait: float) -> Iterator[None]:
    """Within this context, a call to Stripe needs a permit.

    Args:
        max_wait: How long a call waits for its permit, in seconds. In nested contexts the time of
            the inner one counts: a plugin's run in a reconciliation has the time of a delivery.
    """
    token = _max_wait.set(max_wait)
    try:
        yield
    finally:
        _max_wait.reset(token)


@contextmanager
def permitted() -> Iterator[None]:
    """Within this context, a call needs no permit, because its caller has waited for it."""
    token = _max_wait.set(None)
    try:
        yield
    finally:
        _max_wait.reset(token)


class CallLimiter:
    """Makes the service's own calls wait for permits.

    Callers that wait for the same operation lease their permits together. Without callers nothing
    is asked of the source.

    Args:
        rates: The rates of the calls.
        shared: The permits that all processes share; None if there is only this process.
        monotonic: Returns the time in seconds.
        sleep: Waits for a number of seconds.
    """

    def __init__(
        self,
        rates: CallRates,
        *,
        shared: PermitSource | None = None,
        monotonic: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._rates = rates
        self._local = LocalPermits(monotonic)
        self._shared = shared
        self._is_shared = True
        self._monotonic = monotonic
        self._sleep = sleep
        self._waiting: dict[tuple[str, float], list[asyncio.Future[float]]] = {}
        self._leases: set[asyncio.Task[None]] = set()
        self._paused_until = float("-inf")
        self._backoff = 0.0

    async def wait(self, operation: str) -> None:
        """Wait for the permit of a call. Return at once outside of :func:`own_calls`.

        Args:
            operation: The name of the call.

        Raises:
            RateLimited: The permit would come too late. `retry_after` says when to try again.
        """
        max_wait = _max_wait.get()
        if max_wait is None:
            return
        pause = self._paused_until - self._monotonic()
        if pause > max_wait:
            raise _busy(pause)
        key, future = (operation, max_wait), asyncio.get_running_loop().create_future()
        if key in self._waiting:
            self._waiting[key].append(future)
        else:
            self._waiting[key] = [future]
            task = asyncio.create_task(self._lease_for(key))
            self._leases.add(task)
            task.add_done_callback(self._leases.discard)
        delay = max(await future, self._paused_until) - self._monotonic()
        if delay > 0:
            await self._sleep(delay)

    def back_off(self, retry_after: int | None) -> None:
        """Pause the service's own calls, because Stripe has refused a call as one too many.

        Args:
            retry_after: The seconds that Stripe's answer asks for; None if it does not say.
        """
        now = self._monotonic()
        if now >= self._paused_until:  # concurrent calls that are refused together count once
            self._backoff = min(max(1.0, 2 * self._backoff), _MAX_BACKOFF_SECONDS)
        pause = max(self._backoff, retry_after or 0)
        self._paused_until = max(self._paused_until, now + pause)

    def recover(self) -> None:
        """Note that Stripe has answered a call: the next pause is short again."""
        self._backoff = 0.0

    async def _lease_for(self, key: tuple[str, float]) -> None:
        """Lease permits for the callers that wait, until none waits."""
        batch: list[asyncio.Future[float]] = []
        try:
            while batch := self._waiting[key]:
                self._waiting[key] = []
                await self._grant(batch, *key)
        except Exception as error:
            for future in (*batch, *self._waiting[key]):
                if not future.done():
                    future.set_exception(error)
        finally:
            # After a cancellation nobody may wait forever.
            for future in (*batch, *self._waiting.pop(key)):
                if not future.done():
                    future.cancel()

    async def _grant(
        self, batch: list[asyncio.Future[float]], operation: str, max_wait: float
    ) -> None:
        permits, rates = await self._lease(operation, len(batch), max_wait)
        first = self._monotonic() + permits.delay
        for index, future in enumerate(batch):
            if future.done():
                continue  # its caller was cancelled
            if index < permits.number:
                future.set_result(first + index / rates.operation)
            else:
                future.set_exception(_busy(permits.delay + index / rates.operation))

    async def _lease(
        self, operation: str, number: int, max_wait: float
    ) -> tuple[Permits, CallRates]:
        """Lease permits from the shared source, or locally at a lower rate."""
        rates = self._rates
        if self._shared is not None:
            try:
                permits = await lease_from(self._shared, rates, operation, number, max_wait)
            except StoreUnavailable:
                rates = rates.reduced(_FALLBACK_SHARE)
                if self._is_shared:
                    logger.warning("the rate of calls to Stripe is limited in this process only")
                self._is_shared = False
            else:
                self._is_shared = True
                return permits, rates
        return await lease_from(self._local, rates, operation, number, max_wait), rates


def _busy(seconds: float) -> RateLimited:
    return RateLimited(
        "Too many calls to the payment provider at the moment.",
        retry_after=max(1, math.ceil(seconds)),
    )
