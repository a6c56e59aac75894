"""The Tornado application, and the server that runs it alone."""

import asyncio
import errno
import logging
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import unquote

from tornado.httpserver import HTTPServer
from tornado.netutil import bind_sockets
from tornado.web import Application, RequestHandler

from .errors import StartError
from .handlers import default_handlers
from .handlers.base import BaseHandler, NotFoundHandler
from .handlers.bodies import BODY_SECONDS
from .handlers.checkout import checkout_handlers
from .handlers.site import Site
from .handlers.traffic import RequestTracker
from .logs import redact, shortened
from .service import Service

logger = logging.getLogger(__name__)
access_logger = logging.getLogger("datalayer_stripe.access")

# Above every handler's own limit, so that a body over that one is still answered with 413.
_MAX_BODY_BYTES = 8 * 1024 * 1024
_IDLE_SECONDS = 120

# Tokens are some KB. What comes before the end of the headers counts in no other bound.
_MAX_HEADER_BYTES = 32 * 1024

# What probes ask every few seconds is no news.
_QUIET = frozenset({"/healthz", "/readyz", "/metrics"})

# Longer than any of ours. Clients choose both.
_MAX_LOGGED_METHOD_CHARS = 32
_MAX_LOGGED_PATH_CHARS = 500

_ENDING = (signal.SIGTERM, signal.SIGINT)


def make_app(service: Service) -> Application:
    """All routes of the service, as an application for a server of Tornado's."""
    handlers = [*default_handlers, *checkout_handlers(service.settings.checkout_path)]
    site = Site(service.metrics)
    site.open(service)
    site.label_routes(handlers)
    return Application(
        handlers,
        default_handler_class=NotFoundHandler,
        log_function=_log_request,
        datalayer_stripe=site,
    )


class Server:
    """Serves one application on one port."""

    def __init__(self, app: Application, *, address: str, port: int) -> None:
        """Bind. Port 0 is any free one. Raises StartError when the port is taken."""
        self._request_tracker: RequestTracker = app.settings["datalayer_stripe"].request_tracker
        self._http = HTTPServer(
            app,
            max_body_size=_MAX_BODY_BYTES,
            body_timeout=BODY_SECONDS,
            idle_connection_timeout=_IDLE_SECONDS,
            max_header_size=_MAX_HEADER_BYTES,
        )
        try:
            sockets = bind_sockets(port, address)
        except (OSError, UnicodeError) as error:
            cause = getattr(error, "strerror", None) or "this is not a host name"
            in_use = getattr(error, "errno", None) in (errno.EADDRINUSE, errno.EACCES)
            remedy = "Choose another --port." if in_use else "Choose an --host of this machine."
            raise StartError(f"Cannot listen on {address}:{port}: {cause}. {remedy}") from None
        self.port: int = sockets[0].getsockname()[1]
        self._http.add_sockets(sockets)

    async def stop(self, *, seconds: float) -> None:
        """Stop accepting, let what runs finish within `seconds`, and close the connections."""
        self._http.stop()
        self._request_tracker.drain()
        try:
            async with asyncio.timeout(seconds):
                await self._request_tracker.idle()
        except TimeoutError:
            logger.warning("Requests were still running after %g s", seconds)
        await self._http.close_all_connections()


@contextmanager
def first_signal() -> Iterator[asyncio.Event]:
    """Give what is set by the first SIGTERM or SIGINT; a second one ends the process at once."""
    signalled, loop = asyncio.Event(), asyncio.get_running_loop()

    def restore() -> None:
        for number in _ENDING:
            loop.remove_signal_handler(number)

    def end() -> None:
        restore()
        signalled.set()

    for number in _ENDING:
        loop.add_signal_handler(number, end)
    try:
        yield signalled
    finally:
        restore()


def _logged_path(path: str) -> str:
    """Return a path for the log. The query is left out: it may hold anything.

    It is decoded, so that redaction sees `ada%40example.com` as an address, and cut after it.
    """
    return shortened(redact(unquote(path)), _MAX_LOGGED_PATH_CHARS)


def _log_request(handler: RequestHandler) -> None:
    level = logging.DEBUG if handler.request.path in _QUIET else logging.INFO
    access_logger.log(
        level,
        "request",
        extra={
            "method": shortened(str(handler.request.method), _MAX_LOGGED_METHOD_CHARS),
            "path": _logged_path(handler.request.path),
            "status": handler.get_status(),
            "milliseconds": round(handler.request.request_time() * 1000, 1),
            "request_id": handler.request_id if isinstance(handler, BaseHandler) else None,
        },
    )
