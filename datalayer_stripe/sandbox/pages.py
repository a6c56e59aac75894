"""The few pages that Stripe's own answers point to: authentication, portal, receipts, invoices."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING, Any

from tornado.web import HTTPError, RequestHandler

from .errors import StripeError
from .state import Object

if TYPE_CHECKING:
    from .sandbox import Sandbox


class _Page(RequestHandler):
    """A page about one object of the sandbox."""

    def initialize(self, sandbox: Sandbox) -> None:
        self._sandbox = sandbox

    def _object(self, object_id: str, *kinds: str) -> Object:
        try:
            found = self._sandbox.get(object_id)
        except KeyError:
            raise HTTPError(404) from None
        if found["object"] not in kinds:
            raise HTTPError(404)
        return found

    def _show(self, title: str, *paragraphs: str) -> None:
        """Answer a page; `paragraphs` are HTML."""
        body = "".join(f"<p>{paragraph}</p>" for paragraph in paragraphs)
        self.set_header("Content-Type", "text/html; charset=utf-8")
        self.finish(
            '<!doctype html><html lang="en"><meta charset="utf-8">'
            f"<title>{escape(title)}</title><h1>{escape(title)}</h1>{body}"
            "<p><small>A local sandbox: no money moves.</small></p></html>"
        )


class AuthenticationPage(_Page):
    """Where a cardholder accepts or refuses a payment (3-D Secure)."""

    def get(self, intent_id: str) -> None:
        """Ask."""
        intent = self._object(intent_id, "payment_intent", "setup_intent")
        if intent["status"] != "requires_action":
            self._show("Authentication", f"Nothing to do: {escape(intent['status'])}.")
            return
        self._show(
            "Authentication",
            f"Is this you? {escape(intent_id)}",
            '<form method="post"><button name="accept" value="true">Complete</button> '
            '<button name="accept" value="false">Fail</button></form>',
        )

    def post(self, intent_id: str) -> None:
        """Take the answer and go back to where the payer came from."""
        intent = self._object(intent_id, "payment_intent", "setup_intent")
        action = intent["next_action"] or {}
        try:
            accept = self.get_body_argument("accept") == "true"
            intent = self._sandbox.authenticate(intent_id, accept)
        except StripeError as error:
            self._show("Authentication", escape(str(error)))
            return
        return_url = action.get("redirect_to_url", {}).get("return_url")
        if return_url:
            self.redirect(return_url)
        else:
            self._show("Authentication", f"Done: {escape(intent['status'])}.")


class PortalPage(_Page):
    """A billing portal session: the customer's subscriptions and invoices, to look at."""

    def get(self, session_id: str) -> None:
        """Show them."""
        portal_session = self._object(session_id, "billing_portal.session")
        customer = portal_session["customer"]
        rows: list[str] = []
        for path in ("subscriptions", "invoices"):
            params = {"customer": customer}
            if path == "subscriptions":
                params["status"] = "all"
            for obj in self._sandbox.call("GET", f"/v1/{path}", **params)["data"]:
                rows.append(f"{obj['object']} {obj['id']}: {obj['status']}")
        back = portal_session["return_url"]
        link = [f'<a href="{escape(back, quote=True)}">Return</a>'] if back else []
        self._show("Billing portal", *(escape(row) for row in rows), *link)


class DocumentPage(_Page):
    """A receipt or an invoice."""

    def get(self, object_id: str) -> None:
        """Show what it is about."""
        obj = self._object(object_id, "charge", "invoice")
        amount = obj["amount"] if obj["object"] == "charge" else obj["total"]
        line = f"{obj['id']}: {amount} {obj['currency']}, {obj['status']}"
        self._show(str(obj["object"]).capitalize(), escape(line))


def page_handlers(sandbox: Sandbox) -> list[Any]:
    """Return the handlers of a sandbox's pages."""
    arguments = {"sandbox": sandbox}
    return [
        (r"/sandbox/authenticate/(\w+)", AuthenticationPage, arguments),
        (r"/sandbox/portal/(\w+)", PortalPage, arguments),
        (r"/sandbox/(?:receipts|invoices)/(\w+?)(?:/pdf)?", DocumentPage, arguments),
    ]
