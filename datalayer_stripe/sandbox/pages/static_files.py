"""The files that browsers get: the stand-in for Stripe.js, its iframes, the panel, styles."""

import re
from pathlib import Path
from typing import Any

from tornado.web import HTTPError, RequestHandler, StaticFileHandler

from ..api.guards import is_rebound

WEB = Path(__file__).parents[1] / "web"

# https://developer.mozilla.org/docs/Web/HTTP/Guides/CSP, for what any page may embed ...
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

# ... and for what is a page of its own.
PAGE_POLICY = f"{FRAMED_POLICY}; form-action 'self'; frame-ancestors 'none'"

# In the order in which each finds what it imports.
_PARTS = (
    "origin",
    "errors",
    "styled",
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
    """Return the stand-in for Stripe.js, which pages load by a plain `<script>`: as one script.

    It is kept as modules, which are joined here into one scope: names are unique among them.
    """
    modules = [(WEB / "stripe" / f"{part}.js").read_text(encoding="utf-8") for part in _PARTS]
    body = "\n".join(_EXPORT.sub("", _IMPORT.sub("", module)) for module in modules)
    return f'(() => {{\n"use strict";\n\n{body}}})();\n'


class StripeJs(RequestHandler):
    """Answers the stand-in for Stripe.js."""

    def get(self) -> None:
        self.set_header("Content-Type", "text/javascript; charset=utf-8")
        self.set_header("Cache-Control", "no-cache")
        self.finish(stripe_js())


class WebFile(StaticFileHandler):
    """Answers a file."""

    def set_extra_headers(self, path: str) -> None:  # noqa: ARG002 - tornado's signature
        self.set_header("Cache-Control", "no-cache")
        self.set_header("Content-Security-Policy", FRAMED_POLICY)
        self.set_header("X-Content-Type-Options", "nosniff")


class Panel(WebFile):
    """Answers the panel, to nobody who came by another name or would show it in a frame."""

    def prepare(self) -> None:
        if is_rebound(self.request):
            raise HTTPError(421)

    def set_extra_headers(self, path: str) -> None:
        super().set_extra_headers(path)
        self.set_header("Content-Security-Policy", PAGE_POLICY)


def static_handlers() -> list[Any]:
    """Return the handlers of the files."""
    return [
        (r"/sandbox/panel()", Panel, {"path": str(WEB / "panel" / "panel.html")}),
        (r"/sandbox/stripe\.js", StripeJs),
        (r"/sandbox/((?:stripe|elements|pages|panel)/\w+\.\w+)", WebFile, {"path": str(WEB)}),
    ]
