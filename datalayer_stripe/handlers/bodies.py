"""Read request bodies within bounds: the size of each, of all together, and the time they take."""

import re
import sys
from collections.abc import Awaitable
from typing import Any, ClassVar, Protocol, cast

from prometheus_client import Gauge
from tornado.concurrent import Future
from tornado.http1connection import HTTP1Connection
from tornado.web import HTTPError, OutputTransform, RequestHandler, stream_request_body

from ..errors import InvalidRequest, Overloaded, RequestError, TooLarge
from .methods import implements

MAX_HELD_BYTES = 64 * 1024 * 1024
"""Bytes of request bodies in memory, over all connections of a process."""

BODY_SECONDS = 30
"""Seconds that a client may take to send a body, whatever server the handlers run in."""

# More digits than any size has; int() itself takes superscripts and refuses very long numbers.
_CONTENT_LENGTH = re.compile(r"[0-9]{1,19}")


class BodyHolder(Protocol):
    """Whose body is in memory."""

    def drop_body(self) -> None:
        """Give the body's bytes back, and answer that there was no room for it."""


class BodyBudget:
    """Count the bytes of the request bodies that all connections hold, and bound them.

    A body that arrives when there is no room takes the room of the body that has been arriving
    for longest. So half-sent bodies cannot shut out a webhook of Stripe's, which arrives at once.
    """

    def __init__(self, gauge: Gauge, *, limit: int = MAX_HELD_BYTES) -> None:
        self.limit = limit
        self.held = 0
        """Bytes that are in memory now."""
        self._gauge = gauge
        self._arriving: dict[BodyHolder, None] = {}  # the oldest first

    def take(self, holder: BodyHolder, size: int) -> bool:
        """Count `size` more bytes of a body that is arriving.

        Returns:
            Whether there is room. If not, nothing is counted: all that is held are bodies that
            have arrived, and are being worked on.
        """
        while self.held + size > self.limit:
            oldest = next((one for one in self._arriving if one is not holder), None)
            if oldest is None:
                return False
            oldest.drop_body()
        self._arriving.setdefault(holder)
        self._count(size)
        return True

    def keep(self, holder: BodyHolder) -> None:
        """Note that a body has arrived: it is not dropped for another one any more."""
        self._arriving.pop(holder, None)

    def give_back(self, holder: BodyHolder, size: int) -> None:
        """Count `size` bytes less, which were all of a body."""
        self._arriving.pop(holder, None)
        self._count(-size)

    def _count(self, size: int) -> None:
        self.held += size
        self._gauge.set(self.held)


@stream_request_body
class BodyHandler(RequestHandler):
    """The base of every handler. A request that is not a POST has no body."""

    max_body_bytes: ClassVar[int] = 0
    """The longest body of a POST."""

    async def _execute(
        self, transforms: list[OutputTransform], *args: bytes, **kwargs: bytes
    ) -> None:
        # Around all that a request does, also where its client hangs up while it sends the body.
        self._held = bytearray()
        self._body_fault: RequestError | None = None
        self._bound_connection()
        try:
            await super()._execute(transforms, *args, **kwargs)
        finally:
            self._free_body()

    def _bound_connection(self) -> None:
        """Let the limits of this handler count, and none of the server that it runs in.

        Whatever Tornado finds wrong with a length, it finds after a refusal was sent, and would
        send a second answer.
        """
        connection = cast("HTTP1Connection", self.request.connection)
        connection.set_body_timeout(BODY_SECONDS)
        declared = self.request.headers.get("Content-Length", "0")
        self._length_is_valid = _CONTENT_LENGTH.fullmatch(declared) is not None
        if not self._length_is_valid:
            # Where this body ends is unknown: the answer is the connection's last.
            self.request.headers["Content-Length"] = "0"
        elif "Transfer-Encoding" not in self.request.headers:
            connection.set_max_body_size(sys.maxsize)

    @property
    def bodies(self) -> BodyBudget:
        budget: BodyBudget = self.settings["datalayer_stripe"].bodies
        return budget

    def prepare(self) -> Awaitable[None] | None:
        """Refuse a method that the route does not have, and a body that it does not take.

        Raises:
            HTTPError: 405 for the method.
            InvalidRequest: if the Content-Length is not a number.
            TooLarge: if the body is declared longer than the route takes.
        """
        if not implements(type(self), str(self.request.method)):
            raise HTTPError(405)
        if not self._length_is_valid:
            raise InvalidRequest("The Content-Length is not a number.")
        is_chunked = "Transfer-Encoding" in self.request.headers
        declared = int(self.request.headers.get("Content-Length", "0"))
        if declared > self._body_limit or (is_chunked and not self._body_limit):
            raise self._too_large()
        return None

    @property
    def _body_limit(self) -> int:
        return self.max_body_bytes if self.request.method == "POST" else 0

    def _too_large(self) -> TooLarge:
        if not self._body_limit:
            return TooLarge("This route takes no request body.")
        return TooLarge(f"The request body is over the limit of {self._body_limit // 1024} KB.")

    def data_received(self, chunk: bytes) -> None:
        """Keep a part of the body. Past a limit, parts are dropped, and all that was kept."""
        if self._body_fault is not None:
            return
        if len(self._held) + len(chunk) > self._body_limit:
            self._body_fault = self._too_large()
            self._free_body()
        elif not self.bodies.take(self, len(chunk)):
            self.drop_body()
        else:
            self._held += chunk

    def drop_body(self) -> None:
        """Free what has arrived of the body: there is no room for it."""
        self._body_fault = Overloaded("Too many request bodies are being received.")
        self._free_body()

    def _free_body(self) -> None:
        self.bodies.give_back(self, len(self._held))
        self._held = bytearray()

    @property
    def body(self) -> bytes:
        """The whole request body.

        Raises:
            TooLarge: if it is longer than the route takes.
            Overloaded: if all connections together sent more than the service keeps.
        """
        if self._body_fault is not None:
            raise self._body_fault
        self.bodies.keep(self)
        return bytes(self._held)

    def finish(self, chunk: Any = None) -> "Future[None]":
        """Send the answer; before the whole body was read it has to be the connection's last.

        Tornado closes the connection then, and a client that is not told sends its next request
        there: https://www.rfc-editor.org/rfc/rfc9112#section-9.6
        """
        if not self._headers_written and not self.request._body_future.done():
            self.set_header("Connection", "close")
            # Tornado would answer an HTTP/1.0 client's wish to keep the connection.
            self.request.headers.pop("Connection", None)
        return super().finish(chunk)
