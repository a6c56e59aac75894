"""The local Stripe with its HTTP server."""

from tornado.httpserver import HTTPServer
from tornado.netutil import bind_sockets
from tornado.web import Application, RequestHandler

from .actions import SandboxActions
from .api.handler import api_handlers
from .pages.authentication import authentication_handlers
from .pages.control import control_handlers
from .pages.documents import document_handlers
from .pages.portal import portal_handlers
from .pages.static_files import static_handlers

_ALL_ADDRESSES = ("0.0.0.0", "::")  # noqa: S104 (compared, not listened on)


class Sandbox(SandboxActions):
    """A stateful Stripe for tests and demos, which the unmodified Stripe SDK can call.

    See `SandboxCore` for its arguments and attributes, and `SandboxActions` for its actions.
    """

    _server: HTTPServer | None = None

    async def start(self, port: int = 0, address: str = "127.0.0.1") -> None:
        """Listen for requests and start to deliver events.

        Args:
            port: the port to listen on; 0 picks a free one.
            address: the IP address to listen on. With 0.0.0.0 or ::, which are all addresses, the
                URLs of the sandbox have 127.0.0.1.
        """
        handlers = [
            *api_handlers(self.dispatcher),
            *control_handlers(self),
            *authentication_handlers(self),
            *document_handlers(self),
            *portal_handlers(self),
            *static_handlers(),
        ]
        self._server = HTTPServer(Application(handlers, log_function=_log_nothing))
        sockets = bind_sockets(port, address)
        host = "127.0.0.1" if address in _ALL_ADDRESSES else address
        self.backend.url = f"http://{host}:{sockets[0].getsockname()[1]}"
        self._server.add_sockets(sockets)
        await self.webhooks.start()

    async def stop(self) -> None:
        """Stop listening, cancel pending deliveries and close all connections."""
        await self.webhooks.stop()
        if self._server is not None:
            self._server.stop()
            await self._server.close_all_connections()
            self._server = None


def _log_nothing(_handler: RequestHandler) -> None:
    """Keep requests to the sandbox out of the log; `Sandbox.api.calls` records them."""
