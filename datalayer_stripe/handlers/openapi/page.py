"""Handlers of the page that shows the description of the HTTP API, and of its files."""

from typing import Any, ClassVar

from tornado.template import Loader

from ..operation import Operation
from ..pages import WEB_FOLDER, PageFileHandler, PageHandler, strict_security_headers
from ..urls import STRIPE_PREFIX
from .routes import OPENAPI_PATH

PAGE_PATH = f"{STRIPE_PREFIX}/docs"
_FILES_PATH = f"{PAGE_PATH}/files"
_FOLDER = WEB_FOLDER / "api"

_SECURITY_HEADERS = strict_security_headers(
    {
        "default-src": ("'none'",),
        "script-src": ("'self'",),
        "style-src": ("'self'",),
        "img-src": ("'self'", "data:"),  # the icons in the style sheet of Swagger UI
        "connect-src": ("'self'",),
        "base-uri": ("'none'",),
        "form-action": ("'none'",),
        "frame-ancestors": ("'none'",),
    }
)


class ApiPageHandler(PageHandler):
    """`GET /docs`: return the page that shows this description."""

    templates: ClassVar[Loader] = Loader(str(_FOLDER))

    @Operation(media_type="text/html")
    async def get(self) -> None:
        base_path = self.app_state.base_path
        self.finish_page(
            _SECURITY_HEADERS,
            description=f"{base_path}{OPENAPI_PATH}",
            files=f"{base_path}{_FILES_PATH}",
        )


class ApiFileHandler(PageFileHandler):
    """`GET /docs/files/<file>`: return a script or style of the page."""


api_page_handlers: list[tuple[Any, ...]] = [
    (PAGE_PATH, ApiPageHandler),
    (
        rf"{_FILES_PATH}/((?:vendor/)?[\w-]+\.(?:js|css))",
        ApiFileHandler,
        {"path": str(_FOLDER)},
    ),
]
"""The routes of the page, as Tornado's `Application` takes them."""
