"""Build the Tornado application and run it as a standalone server."""

import asyncio
import errno
import logging
import signal
import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from tornado.httpserver import HTTPServer
from tornado.netutil import bind_sockets
from tornado.web import Application

from .errors import StartError
from .handlers import default_handlers, operations
from .handlers.access_log import log_request
from .handlers.admin import admin_handlers
from .handlers.admin.page import admin_page_handlers
from .handlers.api import NotFoundHandler
from .handlers.app_state import AppState
from .handlers.bodies import BODY_TIMEOUT_SECONDS
from .handlers.checkout import checkout_handlers
from .handlers.openapi.document import openapi_json, routes_of
from .handlers.openapi.page import api_page_handlers
from .handlers.traffic import RequestTracker
from .service import Service

logger = logging.getLogger(__name__)

DEFAULT_HOST = "127.0.0.1"
"""The address to listen on unless another is chosen: only this machine can connect."""

# Above the limit of every handler, so that the handler itself answers 413 to a longer body.
_MAX_BODY_BYTES = 8 * 1024 * 1024
_IDLE_TIMEOUT_SECONDS = 120

# Tokens have some KB. Header bytes count in no other limit, so this one is low.
_MAX_HEADER_BYTES = 32 * 1024

_SHUTDOWN_SIGNALS = (signal.SIGTERM, signal.SIGINT)


def make_app(service: Service) -> Application:
    """Build the Tornado application with the routes of the service.

    The metrics are among them unless they have an address of their own.

    Args:
        service: The service that the handlers call. It need not be started yet.

    Returns:
        The application, to be run by :class:`Server` or another Tornado server.
    """
    settings = service.settings
    handlers = [
        *default_handlers,
        *admin_handlers(settings.stripe_admin_role),
        *admin_page_handlers(settings.stripe_admin_role),
        *checkout_handlers(settings.checkout_path),
        *api_page_handlers,
    ]
    app_state = AppState(service.metrics)
    app_state.set_service(service)
    app_state.label_routes(handlers)
    if service.settings.operations_address is not None:
        handlers = [route for route in handlers if route not in operations.metrics_handlers]
    app_state.openapi = openapi_json(routes_of(handlers))
    return _application(handlers, app_state)


def make_operations_app(app: Application) -> Application:
    """Build the application of the operators' own address.

    Args:
        app: The application that :func:`make_app` has built. Both share their state.
    """
    return _application(operations.default_handlers, app.settings["datalayer_stripe"])


def _application(handlers: Sequence[Any], app_state: AppState) -> Application:
    return Application(
        list(handlers),
        default_handler_class=NotFoundHandler,
        log_function=log_request,
        datalayer_stripe=app_state,
    )


def listen(address: str, port: int, *, setting: str | None = None) -> list[socket.socket]:
    """Listen on one port, and return a socket for each of its IP addresses.

    Args:
        address: The host name or IP address to bind.
        port: The port to bind. 0 chooses a free port.
        setting: The variable that has the address; None if the options of the command have it.

    Raises:
        StartError: The address or the port cannot be used.
    """
    try:
        return bind_sockets(port, address)
    except (OSError, UnicodeError) as error:
        cause = getattr(error, "strerror", None) or "this is not a host name"
        in_use = getattr(error, "errno", None) in (errno.EADDRINUSE, errno.EACCES)
        if setting is not None:
            remedy = f"Set another {'port' if in_use else 'host'} in {setting}."
        else:
            remedy = "Choose another --port." if in_use else "Choose an --host of this machine."
        raise StartError(f"Cannot listen on {address}:{port}: {cause}. {remedy}") from None


class Server:
    """HTTP server of one application on one port, and of the probes and metrics on another.

    Args:
        app: The application that :func:`make_app` has built.
        sockets: What :func:`listen` has returned.
        operations_sockets: The same for the operators' own address, if there is one.
    """

    def __init__(
        self,
        app: Application,
        sockets: Sequence[socket.socket],
        operations_sockets: Sequence[socket.socket] = (),
    ) -> None:
        self._request_tracker: RequestTracker = app.settings["datalayer_stripe"].request_tracker
        self._http = _http_server(app)
        self._operations_http = _http_server(make_operations_app(app))
        self.port: int = sockets[0].getsockname()[1]
        """The port that the server listens on."""
        self.operations_port: int | None = None
        """The port of the operators' own address, if there is one."""
        if operations_sockets:
            self.operations_port = operations_sockets[0].getsockname()[1]
            self._operations_http.add_sockets(operations_sockets)
        self._http.add_sockets(sockets)

    async def stop(self, *, seconds: float) -> None:
        """Stop accepting connections, wait for the requests in progress, and close all connections.

        The operators' own address answers until the end, so that its probes see the shutdown.

        Args:
            seconds: The time that the requests have to finish.
        """
        self._http.stop()
        self._request_tracker.drain()
        try:
            async with asyncio.timeout(seconds):
                await self._request_tracker.wait_until_idle()
        except TimeoutError:
            logger.warning("Requests were still running after %g s", seconds)
        self._operations_http.stop()
        for server in (self._http, self._operations_http):
            await server.close_all_connections()


def _http_server(app: Application) -> HTTPServer:
    return HTTPServer(
        app,
        max_body_size=_MAX_BODY_BYTES,
        body_timeout=BODY_TIMEOUT_SECONDS,
        idle_connection_timeout=_IDLE_TIMEOUT_SECONDS,
        max_header_size=_MAX_HEADER_BYTES,
    )


@contextmanager
def shutdown_signal() -> Iterator[asyncio.Event]:
    """Install signal handlers, and yield an event that the first SIGTERM or SIGINT sets.

    The first signal also removes the handlers, so that a second one ends the process at once.
    """
    signalled, loop = asyncio.Event(), asyncio.get_running_loop()

    def remove_handlers() -> None:
        for number in _SHUTDOWN_SIGNALS:
            loop.remove_signal_handler(number)

    def on_signal() -> None:
        remove_handlers()
        signalled.set()

    for number in _SHUTDOWN_SIGNALS:
        loop.add_signal_handler(number, on_signal)
    try:
        yield signalled
    finally:
        remove_handlers()
