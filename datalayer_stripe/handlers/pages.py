"""What the handlers of the pages have in common: their files and their security headers."""

from collections.abc import Awaitable, Mapping
from pathlib import Path

from tornado.web import HTTPError, StaticFileHandler

from ..errors import RequestError
from .bodies import BodyHandler

WEB_FOLDER = Path(__file__).parents[1] / "web"
"""The folder with the files of the pages."""

Sources = tuple[str, ...]


class PageFileHandler(BodyHandler, StaticFileHandler):
    """Return a script or style of a page."""

    def prepare(self) -> Awaitable[None] | None:
        """Refuse a body with an HTTPError, because this handler does not derive from BaseHandler.

        Raises:
            HTTPError: If the method is not implemented, or the request has a body.
        """
        try:
            return super().prepare()
        except RequestError as error:
            raise HTTPError(error.status) from None

    def set_extra_headers(self, path: str) -> None:  # noqa: ARG002 (Tornado's signature)
        # Browsers revalidate each file by its ETag, so that no page mixes files of two versions
        # after an upgrade.
        self.set_header("Cache-Control", "no-cache")
        self.set_header("X-Content-Type-Options", "nosniff")
        self.clear_header("Server")


def content_security_policy(directives: Mapping[str, Sources]) -> str:
    """Return the value of the header Content-Security-Policy.

    Args:
        directives: The sources of each directive.
    """
    return "; ".join(f"{name} {' '.join(sources)}" for name, sources in directives.items())
