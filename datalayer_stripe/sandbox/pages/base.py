"""Base class of the HTML pages."""

from http.client import responses
from typing import Any

from tornado.template import Loader
from tornado.web import HTTPError, RequestHandler

from ..actions import SandboxActions
from ..api.guards import is_cross_site, is_dns_rebinding
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
    """Base class of the sandbox's HTML pages. The templates escape all values.

    Attributes:
        content_security_policy: the page's `Content-Security-Policy` header.
        sandbox: the local Stripe.
    """

    content_security_policy = PAGE_POLICY

    def initialize(self, sandbox: SandboxActions) -> None:
        self.sandbox = sandbox

    def prepare(self) -> None:
        """Reject requests that come from a page of another origin."""
        if is_dns_rebinding(self.request):
            raise HTTPError(421)
        if self.request.method == "POST" and is_cross_site(self.request):
            raise HTTPError(403)

    def find(self, object_id: str, *kinds: str) -> Object:
        """Return an object of one of the given types.

        Raises:
            HTTPError: 404 if there is no such object.
        """
        try:
            found = self.sandbox.get(object_id)
        except KeyError:
            raise HTTPError(404) from None
        if found["object"] not in kinds:
            raise HTTPError(404)
        return found

    def show(self, template: str, title: str, **values: Any) -> None:
        """Render a template as the answer.

        Args:
            template: the template's file name.
            title: the page's title.
            values: the template's variables.
        """
        self.set_header("Content-Security-Policy", self.content_security_policy)
        self.set_header("Referrer-Policy", "same-origin")
        page = _TEMPLATES.load(template).generate(title=title, **_FORMATTERS, **values)
        self.finish(page)

    def write_error(self, status_code: int, **_kwargs: Any) -> None:
        """Answer an error as a page."""
        title = responses.get(status_code, "Error")
        self.show(
            "message.html",
            title,
            text=f"The local Stripe cannot show this page (status {status_code}).",
        )
