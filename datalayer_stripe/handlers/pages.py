"""What the handlers of the pages have in common: templates, files and security headers."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from tornado.template import Loader
from tornado.web import StaticFileHandler

from .base import BaseHandler

WEB_FOLDER = Path(__file__).parents[1] / "web"
"""The folder with the files of the pages."""

Sources = tuple[str, ...]


class PageHandler(BaseHandler):
    """Base of the handlers that return a page."""

    templates: ClassVar[Loader]
    """Loads the page's `index.html`."""

    def finish_page(self, headers: Mapping[str, str], **values: Any) -> None:
        """Finish the request with the page.

        Args:
            headers: The security headers of the page.
            **values: The values that its template names.
        """
        for name, value in headers.items():
            self.set_header(name, value)
        self.set_header("Content-Type", "text/html; charset=UTF-8")
        self.finish(self.templates.load("index.html").generate(**values))


class PageFileHandler(BaseHandler, StaticFileHandler):
    """Return a script or style of a page. Its errors are those of all other routes."""

    def initialize(self, path: str) -> None:  # type: ignore[override]
        """Set the folder of the files.

        Args:
            path: The folder.
        """
        BaseHandler.initialize(self)
        StaticFileHandler.initialize(self, path)

    async def get(self, path: str, include_body: bool = True) -> None:
        """Return the file, or the part of it that the header Range names."""
        await super().get(path, include_body)
        if self.get_status() == 416:
            self.write_error(416)  # Tornado has set the headers, but writes no body

    def set_extra_headers(self, path: str) -> None:  # noqa: ARG002 (Tornado's signature)
        # Browsers revalidate each file by its ETag, so that no page mixes files of two versions
        # after an upgrade.
        self.set_header("Cache-Control", "no-cache")

    def on_finish(self) -> None:
        """Count nothing: the metrics have no route for files."""


def content_security_policy(directives: Mapping[str, Sources]) -> str:
    """Return the value of the header Content-Security-Policy.

    Args:
        directives: The sources of each directive.
    """
    return "; ".join(f"{name} {' '.join(sources)}" for name, sources in directives.items())


def strict_security_headers(directives: Mapping[str, Sources]) -> dict[str, str]:
    """Return the security headers of a page that needs no other origin, and that none may frame.

    Args:
        directives: The sources of each directive of the Content-Security-Policy.

    Returns:
        The headers by name.
    """
    return {
        "Content-Security-Policy": content_security_policy(directives),
        "Referrer-Policy": "no-referrer",
        "Cross-Origin-Opener-Policy": "same-origin",
        "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
        "X-Frame-Options": "DENY",
        "X-Robots-Tag": "noindex",
    }
