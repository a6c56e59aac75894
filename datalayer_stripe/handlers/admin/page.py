"""Handlers of the operator's page and its files.

The page contains no data. It requests the data with the operator's token.
"""

import json
from typing import Any, ClassVar

from tornado.template import Loader

from ...currencies import CURRENCY_DIGITS
from ..operation import Operation
from ..pages import WEB_FOLDER, PageFileHandler, PageHandler, strict_security_headers
from ..urls import ADMIN_PREFIX

_FILES_PATH = f"{ADMIN_PREFIX}/files"

# The page preloads its modules at once. Otherwise the browser would request each of them only after
# it has read the module that imports it. The chart library is loaded when a chart is shown.
_SHARED_MODULES = (
    "confirm-dialog.js",
    "dom.js",
    "failure.js",
    "http.js",
    "money.js",
    "session.js",
    "signed-in.js",
    "table.js",
    "texts.js",
)
_MODULES = (
    *_SHARED_MODULES,
    *sorted(f"admin/{path.name}" for path in (WEB_FOLDER / "admin").glob("*.js")),
)

_SECURITY_HEADERS = strict_security_headers(
    {
        "default-src": ("'none'",),
        "script-src": ("'self'",),
        "style-src": ("'self'",),
        "img-src": ("'self'",),
        "connect-src": ("'self'",),
        "base-uri": ("'none'",),
        "form-action": ("'none'",),
        "frame-ancestors": ("'none'",),
        # No script can insert HTML, by mistake or by an attack.
        "require-trusted-types-for": ("'script'",),
        "trusted-types": ("'none'",),
    }
)


class AdminPageHandler(PageHandler):
    """`GET /admin`: return the operator's page."""

    templates: ClassVar[Loader] = Loader(str(WEB_FOLDER / "admin"))

    @Operation(media_type="text/html")
    async def get(self) -> None:
        settings, base_path = self.service.settings, self.app_state.base_path
        self.finish_page(
            _SECURITY_HEADERS,
            admin_api=f"{base_path}{ADMIN_PREFIX}",
            assets=f"{base_path}{_FILES_PATH}",
            currency_digits=json.dumps(CURRENCY_DIGITS),
            mode="live" if settings.livemode else "test",
            modules=_MODULES,
            sign_in_url=settings.stripe_sign_in_url or "",
        )


class AdminFileHandler(PageFileHandler):
    """`GET /admin/files/<file>`: return a script or style of the page."""


def admin_page_handlers(role: str | None) -> list[tuple[Any, ...]]:
    """Return the routes of the operator's page.

    Args:
        role: The role that an operator needs; None turns the page off.

    Returns:
        The routes as Tornado's `Application` takes them; none if the page is off.
    """
    if role is None:
        return []
    file = r"(?:admin/(?:vendor/)?)?[\w-]+(?:\.[\w-]+)*\.(?:js|css|svg)"
    return [
        (ADMIN_PREFIX, AdminPageHandler),
        (rf"{_FILES_PATH}/({file})", AdminFileHandler, {"path": str(WEB_FOLDER)}),
    ]
