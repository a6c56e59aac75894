"""Base class of the HTML pages."""

from http.client import responses
from typing import Any

from tornado.template import Loader
from tornado.web import HTTPError, RequestHandler

from ..actions import SandboxActions
from ..api.guards import is_cross_site, is_rebound
from ..engine import formatting
from ..shapes.objects import Object
from .static_files import PAGE_POLICY, WEB

_TEMPLATES = Loader(str(WEB / "templates"))
_FORMATTERS = {
    "card_name": formatting.card_name,
    "date": formatting.date,
    "money": formatting.money,
}


class Page(RequestHandler):
    """A page of the sandbox; what it shows is escaped by its template."""

    content_security_policy = PAGE_POLICY

    def initialize(self, sandbox: SandboxActions) -> None:
        self.sandbox = sandbox

    def prepare(self) -> None:
        """Refuse what a page of another origin sends."""
        if is_rebound(self.request):
            raise HTTPError(421)
        if self.request.method == "POST" and is_cross_site(self.request):
            raise HTTPError(403)

    def find(self, object_id: str, *kinds: str) -> Object:
        """Return an object of one of these kinds, or answer 404."""
        try:
            found = self.sandbox.get(object_id)
        except KeyError:
            raise HTTPError(404) from None
        if found["object"] not in kinds:
            raise HTTPError(404)
        return found

    def show(self, template: str, title: str, **values: Any) -> None:
        """Answer a page."""
        self.set_header("Content-Security-Policy", self.content_security_policy)
        self.set_header("Referrer-Policy", "same-origin")
        page = _TEMPLATES.load(template).generate(title=title, **_FORMATTERS, **values)
        self.finish(page)

    def write_error(self, status_code: int, **_kwargs: Any) -> None:
        """Answer an error as a page."""
        title = responses.get(status_code, "Error")
        self.show("message.html", title, text=f"The local Stripe answers {status_code}.")
