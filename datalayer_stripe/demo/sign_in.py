"""Routes that sign a browser in as the demo's account and redirect it to a page.

A script stores the token in the browser's localStorage, where Datalayer's UI stores it too. The
token is never part of a URL, and only pages of the demo's own origin can read it.
"""

from typing import Any

from tornado.web import RequestHandler

# The host names that a browser on this machine uses. Other names are not served: the owner of a
# domain could let it resolve to 127.0.0.1 and read the token from a page of that domain.
_HOSTS = r"(127\.0\.0\.1|localhost)"

_PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<title>Signing in…</title>
<link rel="icon" href="data:,">
<script type="module" src="/demo/sign-in.js"></script>
<noscript>This page needs JavaScript. Enable it and reload this page.</noscript>
</html>
"""

_SCRIPT = """\
const { token, pages } = await (await fetch("/demo/sign-in")).json();
localStorage.setItem("@datalayer/iam:token", token);
location.replace(pages[location.pathname]);
"""

OPERATOR_PATH = "/operator"
"""The path that leads to the operator's page. `/` leads to the checkout page."""


class SignInHandler(RequestHandler):
    """Handler that serves one fixed page, script or JSON object."""

    def initialize(self, content_type: str, content: Any) -> None:
        self._content_type = content_type
        self._content = content

    def set_default_headers(self) -> None:
        self.clear_header("Server")
        self.set_header("Cache-Control", "no-store")
        self.set_header(
            "Content-Security-Policy", "default-src 'self'; img-src data:; frame-ancestors 'none'"
        )
        self.set_header("X-Content-Type-Options", "nosniff")

    async def get(self) -> None:
        self.set_header("Content-Type", self._content_type)
        self.finish(self._content)


def sign_in_handlers(token: str, *, checkout: str, operator: str) -> tuple[str, list[Any]]:
    """Return the host pattern and the routes to add to the demo's application.

    Args:
        token: The bearer token to store in the browser.
        checkout: The path of the checkout page.
        operator: The path of the operator's page.
    """
    pages = {"/": checkout, OPERATOR_PATH: operator}
    contents: dict[str, tuple[str, Any]] = {
        **dict.fromkeys(pages, ("text/html; charset=UTF-8", _PAGE)),
        "/demo/sign-in.js": ("text/javascript; charset=UTF-8", _SCRIPT),
        "/demo/sign-in": ("application/json", {"token": token, "pages": pages}),
    }
    return _HOSTS, [
        (path, SignInHandler, {"content_type": content_type, "content": content})
        for path, (content_type, content) in contents.items()
    ]
