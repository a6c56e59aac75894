"""The demo's front door: signs the browser in as the demo's account, and opens the checkout page.

The token goes from the service into the browser's storage, where Datalayer's UI keeps it, and into
no address. Only pages of the demo's own origin can read it.
"""

from typing import Any

from tornado.web import RequestHandler

# As a browser on this machine addresses the demo. By another name, which a stranger's page could
# let lead here, there is no door.
_HOSTS = r"(127\.0\.0\.1|localhost)"

_PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<title>Signing in…</title>
<link rel="icon" href="data:,">
<script type="module" src="/demo/sign-in.js"></script>
<noscript>The checkout page needs JavaScript.</noscript>
</html>
"""

_SCRIPT = """\
const { token, checkout } = await (await fetch("/demo/sign-in")).json();
localStorage.setItem("@datalayer/iam:token", token);
location.replace(checkout);
"""


class SignInHandler(RequestHandler):
    """`GET /` and what it needs."""

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


def sign_in_handlers(token: str, checkout: str) -> tuple[str, list[Any]]:
    """The hosts and routes to add to the demo's application."""
    fields = {"token": token, "checkout": checkout}
    contents = {
        "/": ("text/html; charset=UTF-8", _PAGE),
        "/demo/sign-in.js": ("text/javascript; charset=UTF-8", _SCRIPT),
        "/demo/sign-in": ("application/json", fields),
    }
    return _HOSTS, [
        (path, SignInHandler, {"content_type": content_type, "content": content})
        for path, (content_type, content) in contents.items()
    ]
