"""Send requests to Stripe: timeouts, retries, metrics and the translation of errors."""

import asyncio
import inspect
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, TypeVar

import aiohttp
import stripe

from ..errors import RateLimited, StripeUnavailable
from ..metrics import Metrics
from .errors import is_replayed, retry_after, translate_error
from .permissions import OPERATION_PERMISSIONS
from .rate_limit import CallLimiter

STRIPE_VERSION = "2026-10-28.endive"
"""The API version of the service's own calls, whatever the default of the SDK is."""

CALL_TIMEOUT_SECONDS = 8
"""Timeout of a call with all its retries, in seconds.

It is shorter than the time limit of a plugin, so that a call to Stripe times out before the plugin
does and the error names Stripe.
"""

_ATTEMPT_TIMEOUT = aiohttp.ClientTimeout(total=6, sock_connect=3)
_MAX_RETRIES = 2

OPERATIONS = tuple(OPERATION_PERMISSIONS)
"""The names of all calls, as the label `operation` of the metrics."""

StripeDict = dict[str, Any]
"""A Stripe object as plain data."""

R = TypeVar("R")


class StripeTransport:
    """Owner of the SDK's client, which is shared by all calls.

    Call :meth:`close` at the end.

    Args:
        api_key: Stripe's secret key.
        metrics: Counts the calls and measures their duration.
        api_base: The base URL of Stripe's API; by default the real one.
        limiter: Limits the calls that the service makes on its own account; by default they are
            not limited.
    """

    def __init__(
        self,
        api_key: str,
        *,
        metrics: Metrics,
        api_base: str | None = None,
        limiter: CallLimiter | None = None,
    ) -> None:
        self._metrics = metrics
        self._limiter = limiter
        self._http = stripe.AIOHTTPClient(timeout=_ATTEMPT_TIMEOUT)
        self.sdk = stripe.StripeClient(
            api_key,
            stripe_version=STRIPE_VERSION,
            base_addresses={"api": api_base} if api_base else None,
            max_network_retries=_MAX_RETRIES,
            http_client=self._http,
        )
        self.last_error: str | None = None
        """The kind of the last call's error if Stripe was unavailable, else None."""

    async def close(self) -> None:
        """Close the connections."""
        # Without a session, the SDK would create one, with a TLS context, to close it.
        session: Any = self._http._cached_session
        if session is not None:
            await self._http.close_async()  # type: ignore[no-untyped-call]

    async def wait_for_permit(self, operation: str) -> None:
        """Wait for the permit of a call that is then made within :func:`.permitted`.

        Args:
            operation: One of :data:`OPERATIONS`.

        Raises:
            RateLimited: The permit would come too late.
        """
        if self._limiter is not None:
            await self._limiter.wait(operation)

    async def call(self, operation: str, request: Awaitable[stripe.StripeObject]) -> StripeDict:
        """Await a request for one object.

        Args:
            operation: One of :data:`OPERATIONS`.
            request: The request of an `_async` method of the SDK.

        Returns:
            The object as plain data.

        Raises:
            RequestError: Stripe refused the request, or did not answer.
        """
        return _plain(await self._send(operation, request))

    async def collect(
        self, operation: str, request: Awaitable[stripe.ListObject[Any]]
    ) -> list[StripeDict]:
        """Await a request for a list, and return the objects of all its pages.

        Args:
            operation: One of :data:`OPERATIONS`.
            request: The request of the first page.

        Raises:
            RequestError: Stripe refused the request, or did not answer. The timeout includes all
                pages.
        """

        async def all_items() -> list[StripeDict]:
            page = await request
            items = list(page.data)
            while page.has_more:
                await self.wait_for_permit(operation)
                page = await page.next_page_async()
                items += page.data
            return [_plain(item) for item in items]

        try:
            return await self._send(operation, all_items())
        finally:
            # Without a permit, the request was not awaited. Otherwise this does nothing.
            if inspect.iscoroutine(request):
                request.close()

    async def pages(
        self, operation: str, first: Callable[[], Awaitable[stripe.ListObject[Any]]]
    ) -> AsyncIterator[list[StripeDict]]:
        """Yield the pages of a list, one request per page.

        Args:
            operation: One of :data:`OPERATIONS`.
            first: Makes the request of the first page.

        Raises:
            RequestError: Stripe refused the request of a page, or did not answer.
        """
        page = await self._send(operation, first())
        while True:
            yield [_plain(item) for item in page.data]
            if not page.has_more:
                return
            page = await self._send(operation, page.next_page_async())

    async def _send(self, operation: str, request: Awaitable[R]) -> R:
        """Await a request within the timeout, count it, and translate its errors."""
        try:
            await self.wait_for_permit(operation)
        except BaseException:
            if inspect.iscoroutine(request):
                request.close()
            raise
        outcome, started = "cancelled", time.perf_counter()
        try:
            async with asyncio.timeout(CALL_TIMEOUT_SECONDS):
                result = await request
        # The SDK does not wrap errors of the HTTP client that occur while it reads a body.
        except (stripe.StripeError, aiohttp.ClientError, TimeoutError) as error:
            outcome = type(error).__name__
            translated = translate_error(operation, error)
            translated.is_replayed = is_replayed(error)
            is_outage = isinstance(translated, StripeUnavailable | RateLimited)
            self.last_error = outcome if is_outage else None
            self._back_off(error)
            raise translated from error
        else:
            outcome, self.last_error = "ok", None
            if self._limiter is not None:
                self._limiter.recover()
            return result
        finally:
            self._metrics.stripe_calls.labels(operation, outcome).inc()
            self._metrics.stripe_seconds.labels(operation).observe(time.perf_counter() - started)

    def _back_off(self, error: Exception) -> None:
        """Pause the service's own calls after an answer 429, unless it is about one object.

        https://docs.stripe.com/rate-limits#object-lock-timeouts
        """
        if self._limiter is None or not isinstance(error, stripe.RateLimitError):
            return
        if error.code != "lock_timeout":
            self._limiter.back_off(retry_after(error))


def key_option(idempotency_key: str | None) -> stripe.RequestOptions:
    """Return the option of a request with an idempotency key.

    Args:
        idempotency_key: The key; None for a new one.
    """
    return {"idempotency_key": idempotency_key} if idempotency_key else {}


def _plain(item: stripe.StripeObject) -> StripeDict:
    """Return a Stripe object as JSON has it. The SDK turns some strings into decimals."""
    return item.to_dict(for_json=True)
