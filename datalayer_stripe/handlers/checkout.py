"""The checkout page and its files. They hold nobody's data: the page asks for that by the token."""

import json
import re
from collections.abc import Awaitable
from pathlib import Path
from typing import Any, ClassVar

from tornado.template import Loader
from tornado.web import HTTPError, StaticFileHandler

from ..currencies import CURRENCY_DIGITS
from ..errors import RequestError
from ..settings import STRIPE_JS_URL, Settings
from .base import BaseHandler
from .bodies import BodyHandler
from .urls import IAM_PREFIX, STRIPE_PREFIX, origin_of

WEB = Path(__file__).parents[1] / "web"

# The browser asks for all of them at once, and not for each when another one imports it.
MODULES = sorted(path.name for path in WEB.glob("*.js"))

Sources = tuple[str, ...]

# docs.stripe.com/security/guide#content-security-policy; without its maps, which fill in addresses.
_STRIPE_SCRIPTS = ("https://js.stripe.com", "https://*.js.stripe.com")
_STRIPE_FRAMES = (*_STRIPE_SCRIPTS, "https://hooks.stripe.com")
_STRIPE_CALLS = ("https://api.stripe.com",)


class CheckoutHandler(BaseHandler):
    """`GET /<DATALAYER_STRIPE_CHECKOUT_ROUTE>`: the page."""

    templates: ClassVar[Loader] = Loader(str(WEB))

    async def get(self) -> None:
        settings, site = self.service.settings, self.site
        for name, value in page_headers(settings).items():
            self.set_header(name, value)
        self.set_header("Content-Type", "text/html; charset=UTF-8")
        # A server with a sign-in of its own asks who is not signed in when the page is loaded.
        sign_in_url = site.page if site.identity == "cookie" else None
        self.finish(
            self.templates.load("index.html").generate(
                assets=site.page,
                currency_digits=json.dumps(CURRENCY_DIGITS),
                iam_api=f"{site.root}{IAM_PREFIX}",
                identity=site.identity,
                modules=MODULES,
                publishable_key=settings.stripe_js_api_key,
                stripe_api=f"{site.root}{STRIPE_PREFIX}",
                stripe_js=settings.stripe_js_url,
                sign_in_url=settings.stripe_sign_in_url or sign_in_url or "",
            )
        )


class CheckoutFileHandler(BodyHandler, StaticFileHandler):
    """`GET /<DATALAYER_STRIPE_CHECKOUT_ROUTE>/<file>`: the page's scripts and styles."""

    def prepare(self) -> Awaitable[None] | None:
        """Refuse a body, by an error whose status Tornado knows."""
        try:
            return super().prepare()
        except RequestError as error:
            raise HTTPError(error.status) from None

    def set_extra_headers(self, path: str) -> None:  # noqa: ARG002 (Tornado's signature)
        # Asked for again with its ETag: after an upgrade no browser mixes old files with new ones.
        self.set_header("Cache-Control", "no-cache")
        self.set_header("X-Content-Type-Options", "nosniff")
        self.clear_header("Server")


def page_headers(settings: Settings) -> dict[str, str]:
    """What keeps others out of the page, and the page within bounds."""
    scripts: Sources = _STRIPE_SCRIPTS
    frames: Sources = _STRIPE_FRAMES
    calls: Sources = _STRIPE_CALLS
    if settings.stripe_js_url != STRIPE_JS_URL:
        scripts = frames = calls = (origin_of(settings.stripe_js_url),)
    directives: dict[str, Sources] = {
        "default-src": ("'none'",),
        "script-src": ("'self'", *scripts),
        "style-src": ("'self'",),
        "img-src": ("'self'", "data:"),
        "connect-src": ("'self'", *calls),
        "frame-src": frames,
        "base-uri": ("'none'",),
        "form-action": ("'none'",),
        "frame-ancestors": ("'self'",),
    }
    return {
        "Content-Security-Policy": "; ".join(
            f"{name} {' '.join(sources)}" for name, sources in directives.items()
        ),
        "Referrer-Policy": "strict-origin",
        # Popups of banks may still talk to Stripe's frames.
        "Cross-Origin-Opener-Policy": "same-origin-allow-popups",
        "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
        "X-Frame-Options": "SAMEORIGIN",
        "X-Robots-Tag": "noindex",
    }


def checkout_handlers(checkout_path: str | None) -> list[tuple[Any, ...]]:
    """The page's routes; none where `DATALAYER_STRIPE_CHECKOUT_ROUTE` is another site's URL."""
    if checkout_path is None:
        return []
    path = re.escape(checkout_path)
    return [
        (path, CheckoutHandler),
        (rf"{path}/([\w-]+\.(?:js|css|svg))", CheckoutFileHandler, {"path": str(WEB)}),
    ]
