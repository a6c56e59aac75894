"""What the handlers of the pages have in common: their files and their security headers."""

from collections.abc import Mapping
from pathlib import Path

from tornado.web import StaticFileHandler

from .base import BaseHandler

WEB_FOLDER = Path(__file__).parents[1] / "web"
"""The folder with the files of the pages."""

Sources = tuple[str, ...]


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
