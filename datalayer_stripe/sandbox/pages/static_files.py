"""Static files: the replacement of Stripe.js, its iframes, the panel, style sheets."""

import re
from pathlib import Path
from typing import Any

from tornado.web import HTTPError, RequestHandler, StaticFileHandler

from ..api.guards import is_dns_rebinding

WEB = Path(__file__).parents[1] / "web"

# Content-Security-Policy of documents that any page may embed
# (https://developer.mozilla.org/docs/Web/HTTP/Guides/CSP).
FRAMED_POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' data:",
        "connect-src 'self'",
        "base-uri 'none'",
    )
)

# Content-Security-Policy of pages that must not be embedded.
PAGE_POLICY = f"{FRAMED_POLICY}; form-action 'self'; frame-ancestors 'none'"

# The modules of Stripe.js: each comes after the modules that it imports.
_MODULES = (
    "origin",
    "errors",
    "dom",
    "api",
    "frame",
    "element",
    "badge",
    "challenge",
    "intents",
    "elements",
    "stripe",
)
_IMPORT = re.compile(r"^import .+;\n", re.MULTILINE)
_EXPORT = re.compile(r"^export ", re.MULTILINE)


def stripe_js() -> str:
    """Return the replacement of Stripe.js as one script, because pages load it with `<script>`.

    The script joins the modules of `web/stripe/` in one scope, so the names that they declare must
    differ.
    """
    modules = [(WEB / "stripe" / f"{name}.js").read_text(encoding="utf-8") for name in _MODULES]
    body = "\n".join(_EXPORT.sub("", _IMPORT.sub("", module)) for module in modules)
    return f'(() => {{\n"use strict";\n\n{body}}})();\n'


class StripeJs(RequestHandler):
    """Handler of the replacement of Stripe.js."""

    def get(self) -> None:
        """Return the script."""
        self.set_header("Content-Type", "text/javascript; charset=utf-8")
        self.set_header("Cache-Control", "no-cache")
        self.finish(stripe_js())


class WebFile(StaticFileHandler):
    """Handler of a static file that any page may embed."""

    def set_extra_headers(self, path: str) -> None:  # noqa: ARG002 - Tornado's signature
        self.set_header("Cache-Control", "no-cache")
        self.set_header("Content-Security-Policy", FRAMED_POLICY)
        self.set_header("X-Content-Type-Options", "nosniff")


class Panel(WebFile):
    """Handler of the panel, which must not be embedded or reached by DNS rebinding."""

    def prepare(self) -> None:
        if is_dns_rebinding(self.request):
            raise HTTPError(421)

    def set_extra_headers(self, path: str) -> None:
        super().set_extra_headers(path)
        self.set_header("Content-Security-Policy", PAGE_POLICY)


def static_handlers() -> list[Any]:
    """Return the handlers of the static files."""
    return [
        (r"/sandbox/panel()", Panel, {"path": str(WEB / "panel" / "panel.html")}),
        (r"/sandbox/stripe\.js", StripeJs),
        (r"/sandbox/((?:stripe|elements|pages|panel)/\w+\.\w+)", WebFile, {"path": str(WEB)}),
    ]
