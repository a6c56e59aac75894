"""Read request bodies with a size limit, a memory limit over all connections, and a timeout."""

import asyncio
import logging
import re
import sys
from collections.abc import Awaitable
from contextvars import Context
from typing import Any, ClassVar, Protocol, cast

from prometheus_client import Gauge
from tornado.concurrent import Future
from tornado.http1connection import HTTP1Connection
from tornado.web import HTTPError, OutputTransform, RequestHandler, stream_request_body

from ..errors import InvalidRequest, Overloaded, RequestError, TooLarge
from .methods import UnknownMethod, implements

logger = logging.getLogger(__name__)

BODY_TIMEOUT_SECONDS = 30
"""Seconds that a client may take to send a body, whatever server the handlers run in."""

# 19 digits hold every possible size. int() alone would also accept superscripts, and raise an
# error for very long numbers.
_CONTENT_LENGTH = re.compile(r"[0-9]{1,19}")


class BodyReceiver(Protocol):
    """Handler that is receiving a request body."""

    def discard_body(self) -> None:
        """Release the memory of the body, and fail the request because there was no room."""

    def close_if_incomplete(self) -> None:
        """Close the connection if the body has not arrived."""


class BodyBudget:
    """Limit the memory that the request bodies of all connections use.

    A body that arrives when the budget is used up replaces the body that has been arriving for
    the longest time. Half-sent bodies therefore cannot block a webhook of Stripe, which sends its
    whole body at once.

    Args:
        gauge: The metric of the bytes in use.
        limit: Maximum bytes in memory.
    """

    def __init__(self, gauge: Gauge, *, limit: int) -> None:
        self.limit = limit
        self.reserved = 0
        """Bytes in memory now."""
        self._gauge = gauge
        self._arriving: dict[BodyReceiver, None] = {}  # oldest first

    def reserve(self, receiver: BodyReceiver, size: int) -> bool:
        """Reserve memory for the next chunk of a body.

        Args:
            receiver: The handler that receives the body.
            size: The bytes of the chunk.

        Returns:
            Whether there is room. If not, nothing is reserved: all memory belongs to complete
            bodies, whose requests are being handled.
        """
        while self.reserved + size > self.limit:
            oldest = next((other for other in self._arriving if other is not receiver), None)
            if oldest is None:
                return False
            oldest.discard_body()
        self._arriving.setdefault(receiver)
        self._count(size)
        return True

    def mark_complete(self, receiver: BodyReceiver) -> None:
        """Protect a complete body: it is no longer discarded for another one."""
        self._arriving.pop(receiver, None)

    def release(self, receiver: BodyReceiver, size: int) -> None:
        """Release the memory of a body.

        Args:
            receiver: The handler that received the body.
            size: All bytes that were reserved for it.
        """
        self._arriving.pop(receiver, None)
        self._count(-size)

    def _count(self, size: int) -> None:
        self.reserved += size
        self._gauge.set(self.reserved)


class BodyDeadlines:
    """Give each body BODY_TIMEOUT_SECONDS to arrive, with one timer for all of them.

    All bodies have the same time, so the oldest expires first. Tornado's own timeout costs a task
    and a timer for each request.
    """

    def __init__(self) -> None:
        self._deadlines: dict[BodyReceiver, float] = {}  # the earliest first
        self._timer: asyncio.TimerHandle | None = None

    def start(self, receiver: BodyReceiver) -> None:
        """Call `close_if_incomplete` at the deadline, unless :meth:`stop` is called before.

        Args:
            receiver: The handler that receives the body.
        """
        loop = asyncio.get_running_loop()
        self._deadlines[receiver] = deadline = loop.time() + BODY_TIMEOUT_SECONDS
        if self._timer is None:
            self._timer = loop.call_at(deadline, self._close_expired)

    def stop(self, receiver: BodyReceiver) -> None:
        """Forget a request that has ended.

        Args:
            receiver: The handler of the request.
        """
        self._deadlines.pop(receiver, None)

    def _close_expired(self) -> None:
        self._timer, loop = None, asyncio.get_running_loop()
        for receiver, deadline in tuple(self._deadlines.items()):
            if deadline > loop.time():
                self._timer = loop.call_at(deadline, self._close_expired)
                return
            del self._deadlines[receiver]
            # The present context has the log fields of the request that has set the timer.
            Context().run(receiver.close_if_incomplete)


@stream_request_body
class BodyHandler(RequestHandler):
    """Base of every handler: receives a body with limits. Only POST requests may have a body."""

    max_body_bytes: ClassVar[int] = 0
    """Maximum length of the body of a POST, in bytes."""

    async def _execute(
        self, transforms: list[OutputTransform], *args: bytes, **kwargs: bytes
    ) -> None:
        # Tornado calls no other method that encloses the whole request, including one whose
        # client disconnects while it sends the body.
        self._buffer = bytearray()
        self._body_error: RequestError | None = None
        if self.request.method not in self.SUPPORTED_METHODS:
            self.request.method = UnknownMethod(self.request.method)
        self._set_connection_limits()
        try:
            await super()._execute(transforms, *args, **kwargs)
        finally:
            self._deadlines.stop(self)
            self._free_buffer()

    def _set_connection_limits(self) -> None:
        """Apply the limits of this handler instead of those of the server.

        If Tornado itself rejected the length, it would do so after this handler has sent an
        error, and would send a second response.
        """
        headers = self.request.headers
        self._connection = cast("HTTP1Connection", self.request.connection)
        self._deadlines: BodyDeadlines = self.settings["datalayer_stripe"].body_deadlines
        self._is_chunked = "Transfer-Encoding" in headers
        content_length = headers.get("Content-Length", "0")
        self._length_is_valid = _CONTENT_LENGTH.fullmatch(content_length) is not None
        self._content_length = int(content_length) if self._length_is_valid else 0
        if not self._length_is_valid:
            # The end of this body is unknown, so the connection is closed after the response.
            headers["Content-Length"] = "0"
        elif not self._is_chunked:
            self._connection.set_max_body_size(sys.maxsize)
        # Without a timeout, Tornado creates neither a task nor a timer.
        self._connection.set_body_timeout(None)  # type: ignore[arg-type]
        if self._is_chunked or self._content_length:
            self._deadlines.start(self)

    @property
    def body_budget(self) -> BodyBudget:
        """The memory limit that all connections share."""
        budget: BodyBudget = self.settings["datalayer_stripe"].body_budget
        return budget

    def prepare(self) -> Awaitable[None] | None:
        """Refuse a method that the route does not implement, and a body that it does not accept.

        Raises:
            HTTPError: 405: the route does not implement the method.
            InvalidRequest: The Content-Length is not a number.
            TooLarge: The declared length is over the limit of the route.
        """
        if not implements(type(self), str(self.request.method)):
            raise HTTPError(405)
        if not self._length_is_valid:
            raise InvalidRequest("The Content-Length is not a number.")
        limit = self._body_limit
        if self._content_length > limit or (self._is_chunked and not limit):
            raise self._too_large()
        return None

    @property
    def _body_limit(self) -> int:
        return self.max_body_bytes if self.request.method == "POST" else 0

    def _too_large(self) -> TooLarge:
        if not self._body_limit:
            return TooLarge("This route accepts no request body.")
        return TooLarge(f"The request body is over the limit of {self._body_limit // 1024} KB.")

    def data_received(self, chunk: bytes) -> None:
        """Buffer a chunk of the body. Over a limit, discard the whole body and what follows.

        Args:
            chunk: The bytes that have arrived.
        """
        if self._body_error is not None:
            return
        if len(self._buffer) + len(chunk) > self._body_limit:
            self._body_error = self._too_large()
            self._free_buffer()
        elif not self.body_budget.reserve(self, len(chunk)):
            self.discard_body()
        else:
            self._buffer += chunk

    def discard_body(self) -> None:
        """Release the memory of the body, and fail the request because there was no room."""
        self._body_error = Overloaded("The server is receiving too many request bodies.")
        self._free_buffer()

    def close_if_incomplete(self) -> None:
        """Close the connection if the body has not arrived."""
        if not self.request._body_future.done():
            logger.info("closed a connection whose request body did not arrive in time")
            self._connection.stream.close()

    def _free_buffer(self) -> None:
        self.body_budget.release(self, len(self._buffer))
        self._buffer = bytearray()

    @property
    def body(self) -> bytes:
        """The complete request body.

        Raises:
            TooLarge: The body is longer than the route accepts.
            Overloaded: There was no memory left for the body.
        """
        if self._body_error is not None:
            raise self._body_error
        self.body_budget.mark_complete(self)
        return bytes(self._buffer)

    def finish(self, chunk: Any = None) -> "Future[None]":
        """Send the response. Before the whole body was read, announce that the connection closes.

        Tornado then closes the connection. A client that does not know would send its next
        request on it: https://www.rfc-editor.org/rfc/rfc9112#section-9.6

        Args:
            chunk: The last part of the response, as Tornado's `finish` takes it.
        """
        if not self._headers_written and not self.request._body_future.done():
            self.set_header("Connection", "close")
            # The deadline of the body ends with the request. Tornado's is for what still arrives.
            self._connection.set_body_timeout(BODY_TIMEOUT_SECONDS)
            # Otherwise Tornado would confirm the keep-alive that an HTTP/1.0 client asked for.
            self.request.headers.pop("Connection", None)
        return super().finish(chunk)
