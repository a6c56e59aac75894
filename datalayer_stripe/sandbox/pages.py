"""The pages that Stripe's own answers point to: authentication, receipts, invoices."""

from __future__ import annotations

from http.client import responses
from typing import TYPE_CHECKING, Any

from tornado.httputil import url_concat
from tornado.template import Loader
from tornado.web import HTTPError, RequestHandler

from . import paper
from .errors import StripeError
from .guards import is_cross_site, is_rebound
from .state import Object
from .web import FRAMED_POLICY, PAGE_POLICY, WEB

if TYPE_CHECKING:
    from .sandbox import Sandbox

_TEMPLATES = Loader(str(WEB / "templates"))
_WRITING = {"card_name": paper.card_name, "date": paper.date, "money": paper.money}


class Page(RequestHandler):
    """A page of the sandbox; what it shows is escaped by its template."""

    content_security_policy = PAGE_POLICY

    def initialize(self, sandbox: Sandbox) -> None:
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
        page = _TEMPLATES.load(template).generate(title=title, **_WRITING, **values)
        self.finish(page)

    def write_error(self, status_code: int, **_kwargs: Any) -> None:
        """Answer an error as a page."""
        title = responses.get(status_code, "Error")
        self.show("message.html", title, text=f"The local Stripe answers {status_code}.")


class AuthenticationPage(Page):
    """Where a cardholder accepts or refuses a payment (3-D Secure)."""

    # For the dialog of Stripe.js to embed; and the answer may lead to a page of any origin.
    content_security_policy = FRAMED_POLICY

    def get(self, intent_id: str) -> None:
        """Ask."""
        intent = self.find(intent_id, "payment_intent", "setup_intent")
        if intent["status"] != "requires_action":
            self._end(f"Nothing to do: {intent['status']}.")
            return
        request = "Somebody wants to keep your card for later payments."
        if intent["object"] == "payment_intent":
            request = f"A payment of {paper.money(intent['amount'], intent['currency'])}."
        self.show("authenticate.html", "Authentication", request=request)

    def post(self, intent_id: str) -> None:
        """Take the answer and go back to where the payer came from."""
        intent = self.find(intent_id, "payment_intent", "setup_intent")
        action = intent["next_action"] or {}
        try:
            accept = self.get_body_argument("accept") == "true"
            intent = self.sandbox.authenticate(intent_id, accept)
        except StripeError as error:
            self._end(str(error))
            return
        return_url = action.get("redirect_to_url", {}).get("return_url")
        if return_url:
            self.redirect(url_concat(return_url, _returned(intent)))
        else:
            self._end(f"Done: {intent['status']}.")

    def _end(self, text: str) -> None:
        self.show("authenticated.html", "Authentication", text=text)


def _returned(intent: Object) -> dict[str, str]:
    """Return what a return URL is given: https://docs.stripe.com/payments/accept-a-payment."""
    kind = intent["object"]
    status = "succeeded" if intent["status"] == "succeeded" else "failed"
    return {
        kind: intent["id"],
        f"{kind}_client_secret": intent["client_secret"],
        "redirect_status": status,
    }


class ReceiptPage(Page):
    """The receipt of a charge."""

    def get(self, charge_id: str) -> None:
        self.show("receipt.html", "Receipt", charge=self.find(charge_id, "charge"))


class InvoicePage(Page):
    """An invoice."""

    def get(self, invoice_id: str) -> None:
        self.show("invoice.html", "Invoice", invoice=self.find(invoice_id, "invoice"))


def page_handlers(sandbox: Sandbox) -> list[Any]:
    """Return the handlers of these pages."""
    arguments = {"sandbox": sandbox}
    return [
        (r"/sandbox/authenticate/(\w+)", AuthenticationPage, arguments),
        (r"/sandbox/receipts/(\w+)", ReceiptPage, arguments),
        (r"/sandbox/invoices/(\w+?)(?:/pdf)?", InvoicePage, arguments),
    ]
