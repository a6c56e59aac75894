"""Routes of the service in a Jupyter Server, below the server's base URL."""

from typing import Any

from jupyter_server.base.handlers import JupyterHandler
from tornado.web import authenticated

from ..handlers import default_handlers, operations, webhook
from ..handlers.admin import admin_handlers
from ..handlers.admin.page import AdminFileHandler, AdminPageHandler, admin_page_handlers
from ..handlers.checkout import CheckoutFileHandler, CheckoutHandler, checkout_handlers
from ..handlers.openapi.page import ApiFileHandler, ApiPageHandler, api_page_handlers
from ..handlers.pages import PageFileHandler
from ..handlers.urls import API_PREFIX
from .auth import AuthenticatedMixin, OperatorMixin, PageMixin, PublicMixin, adapt_handler

OPERATIONS_PREFIX = f"{API_PREFIX}/stripe"
"""Prefix of the operations routes. Without it, `/metrics` would replace Jupyter's own route."""

Routes = list[tuple[Any, ...]]


class SignedInFileHandler(PageFileHandler, JupyterHandler):
    """Handler of the scripts and styles of a page, for callers who may see the page."""

    def set_default_headers(self) -> None:
        """Set Jupyter's headers first, so that those of all answers of the service replace them."""
        JupyterHandler.set_default_headers(self)
        super().set_default_headers()

    async def prepare(self) -> None:  # type: ignore[override]
        """Authenticate the caller, and refuse a body.

        Raises:
            HTTPError: The request is not allowed.
            RequestError: The request has a body.
        """
        await JupyterHandler.prepare(self)
        if not self._finished:
            PageFileHandler.prepare(self)

    get = authenticated(PageFileHandler.get)  # type: ignore[assignment]
    head = authenticated(PageFileHandler.head)  # type: ignore[assignment]


def jupyter_handlers(checkout_path: str | None, admin_role: str | None = None) -> Routes:
    """Return all routes, adapted to a Jupyter Server.

    Args:
        checkout_path: The path of the checkout page, such as `/checkout`; None if another site
            serves it.
        admin_role: The role of operators; None turns their routes off. Only a token of Datalayer
            has roles: a user of the server is no operator.

    Returns:
        The routes as Tornado's `Application` takes them.
    """
    public = {handler for _, handler in webhook.default_handlers}  # the signature authenticates
    operator_only = {handler for _, handler in operations.default_handlers}
    routes: Routes = []
    mixin: type[PublicMixin]
    for pattern, handler in (*default_handlers, *admin_handlers(admin_role)):
        prefix, mixin = "", AuthenticatedMixin
        if handler in operator_only:
            prefix, mixin = OPERATIONS_PREFIX, OperatorMixin
        elif handler in public:
            mixin = PublicMixin
        routes.append((prefix + pattern, adapt_handler(handler, mixin)))
    pages = [
        *checkout_handlers(checkout_path),
        *admin_page_handlers(admin_role),
        *api_page_handlers,
    ]
    return [*routes, *_page_routes(pages)]


def _page_routes(pages: Routes) -> Routes:
    adapted = {
        CheckoutHandler: adapt_handler(CheckoutHandler, PageMixin),
        CheckoutFileHandler: SignedInFileHandler,
        AdminPageHandler: adapt_handler(AdminPageHandler, PageMixin),
        AdminFileHandler: SignedInFileHandler,
        ApiPageHandler: adapt_handler(ApiPageHandler, PageMixin),
        ApiFileHandler: SignedInFileHandler,
    }
    return [(pattern, adapted[handler], *options) for pattern, handler, *options in pages]
