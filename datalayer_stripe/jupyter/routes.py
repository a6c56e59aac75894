"""The routes of the service within a Jupyter Server, below its base_url."""

from typing import Any

from jupyter_server.base.handlers import JupyterHandler
from tornado.web import authenticated

from ..handlers import default_handlers, webhook
from ..handlers import operations as ops
from ..handlers.checkout import CheckoutFileHandler, CheckoutHandler, checkout_handlers
from ..handlers.urls import API_PREFIX
from .auth import Access, OpenAccess, OperatorAccess, PageAccess, in_jupyter

# Jupyter has a /metrics of its own.
OPS_PREFIX = f"{API_PREFIX}/stripe"

Routes = list[tuple[Any, ...]]


class PageFileHandler(CheckoutFileHandler, JupyterHandler):
    """The page's scripts and styles, for who may see the page."""

    async def prepare(self) -> None:  # type: ignore[override]
        """Find out who calls, which an error page of Jupyter's shows, and refuse a body."""
        await JupyterHandler.prepare(self)
        if not self._finished:
            CheckoutFileHandler.prepare(self)

    get = authenticated(CheckoutFileHandler.get)  # type: ignore[assignment]
    head = authenticated(CheckoutFileHandler.head)  # type: ignore[assignment]


def jupyter_handlers(checkout_path: str | None) -> Routes:
    """All routes; the page's where it is served here."""
    open_ones = {handler for _, handler in webhook.default_handlers}  # the signature says who calls
    moved = {handler for _, handler in ops.default_handlers}
    routes: Routes = []
    access: type[OpenAccess]
    for pattern, handler in default_handlers:
        prefix, access = "", Access
        if handler in moved:
            prefix, access = OPS_PREFIX, OperatorAccess
        elif handler in open_ones:
            access = OpenAccess
        routes.append((prefix + pattern, in_jupyter(handler, access)))
    return [*routes, *_page(checkout_path)]


def _page(path: str | None) -> Routes:
    hosted = {
        CheckoutHandler: in_jupyter(CheckoutHandler, PageAccess),
        CheckoutFileHandler: PageFileHandler,
    }
    return [
        (pattern, hosted[handler], *options)
        for pattern, handler, *options in checkout_handlers(path)
    ]
