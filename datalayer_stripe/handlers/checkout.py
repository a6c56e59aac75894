"""Handlers of the checkout page and its files.

The page contains no data of any account. It requests the data with the caller's token or cookie.
"""

import json
import re
from typing import Any, ClassVar

from tornado.template import Loader

from ..currencies import CURRENCY_DIGITS
from ..settings import Settings
from ..settings_checks import STRIPE_JS_URL
from .operation import Operation
from .pages import WEB_FOLDER, PageFileHandler, PageHandler, Sources, content_security_policy
from .urls import IAM_PREFIX, STRIPE_PREFIX, origin_of

# The page preloads all modules at once. Otherwise the browser would request each of them only
# after it has read the module that imports it.
_MODULES = sorted(path.name for path in WEB_FOLDER.glob("*.js"))

# https://docs.stripe.com/security/guide#content-security-policy, without the sources of Google
# Maps, which only address forms need.
_STRIPE_SCRIPTS = ("https://js.stripe.com", "https://*.js.stripe.com")
_STRIPE_FRAMES = (*_STRIPE_SCRIPTS, "https://hooks.stripe.com")
_STRIPE_CONNECTIONS = ("https://api.stripe.com",)


class CheckoutHandler(PageHandler):
    """`GET /<DATALAYER_STRIPE_CHECKOUT_ROUTE>`: return the checkout page."""

    templates: ClassVar[Loader] = Loader(str(WEB_FOLDER))

    @Operation(media_type="text/html")
    async def get(self) -> None:
        settings, state = self.service.settings, self.app_state
        # A Jupyter Server redirects a person who is not signed in from the page to its login.
        sign_in_url = state.page_path if state.identity_kind == "cookie" else None
        self.finish_page(
            security_headers(settings),
            assets=state.page_path,
            currency_digits=json.dumps(CURRENCY_DIGITS),
            iam_api=f"{state.base_path}{IAM_PREFIX}",
            identity=state.identity_kind,
            modules=_MODULES,
            publishable_key=settings.stripe_js_api_key,
            stripe_api=f"{state.base_path}{STRIPE_PREFIX}",
            stripe_js=settings.stripe_js_url,
            sign_in_url=settings.stripe_sign_in_url or sign_in_url or "",
        )


class CheckoutFileHandler(PageFileHandler):
    """`GET /<DATALAYER_STRIPE_CHECKOUT_ROUTE>/<file>`: return a script or style of the page."""


def security_headers(settings: Settings) -> dict[str, str]:
    """Return the security headers of the checkout page.

    Args:
        settings: The settings, for the source of Stripe.js.

    Returns:
        The headers by name: Content-Security-Policy and others.
    """
    scripts: Sources = _STRIPE_SCRIPTS
    frames: Sources = _STRIPE_FRAMES
    connections: Sources = _STRIPE_CONNECTIONS
    if settings.stripe_js_url != STRIPE_JS_URL:
        scripts = frames = connections = (origin_of(settings.stripe_js_url),)
    directives: dict[str, Sources] = {
        "default-src": ("'none'",),
        "script-src": ("'self'", *scripts),
        "style-src": ("'self'",),
        "img-src": ("'self'", "data:"),
        "connect-src": ("'self'", *connections),
        "frame-src": frames,
        "base-uri": ("'none'",),
        "form-action": ("'none'",),
        "frame-ancestors": ("'self'",),
    }
    return {
        "Content-Security-Policy": content_security_policy(directives),
        "Referrer-Policy": "strict-origin",
        # Banks may authenticate a payment in a popup, which must reach Stripe's frames.
        "Cross-Origin-Opener-Policy": "same-origin-allow-popups",
        "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
        "X-Frame-Options": "SAMEORIGIN",
        "X-Robots-Tag": "noindex",
    }


def checkout_handlers(checkout_path: str | None) -> list[tuple[Any, ...]]:
    """Return the routes of the checkout page.

    Args:
        checkout_path: The path of the page, such as `/checkout`; None if another site serves it.

    Returns:
        The routes as Tornado's `Application` takes them; none if another site serves the page.
    """
    if checkout_path is None:
        return []
    path = re.escape(checkout_path)
    return [
        (path, CheckoutHandler),
        (rf"{path}/([\w-]+\.(?:js|css|svg))", CheckoutFileHandler, {"path": str(WEB_FOLDER)}),
    ]
