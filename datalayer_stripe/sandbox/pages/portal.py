"""The billing portal as its customer sees it: plan, card, invoices.

https://docs.stripe.com/customer-management
"""

from typing import Any
from urllib.parse import urlsplit

from tornado.web import HTTPError

from ..actions import SandboxActions
from ..engine.errors import StripeError, bad_request
from ..shapes.objects import Object
from .base import Page

# https://docs.stripe.com/api/customer_portal/sessions: an hour after the customer's last step.
# Here it is an hour after its creation.
_SESSION_SECONDS = 3600
_ENDED = ("canceled", "incomplete_expired")
_DONE = {
    "canceled": "Your plan is canceled.",
    "card": "Your card is changed.",
    "ending": "Your plan ends with its period.",
    "kept": "Your plan goes on.",
    "paid": "Your invoice is paid.",
}


class PortalPage(Page):
    """A session of the portal. A form's POST is answered by a redirect to the page."""

    def get(self, session_id: str) -> None:
        """Show the customer's plan, card and invoices."""
        self._show(self._session(session_id), self.get_query_argument("done", ""))

    def post(self, session_id: str) -> None:
        """Do what a form asks for."""
        portal_session = self._session(session_id)
        actions = {
            "cancel": self._cancel,
            "resume": self._resume,
            "card": self._change_card,
            "pay": self._pay,
        }
        action = actions.get(self.get_body_argument("action", ""))
        if action is None:
            raise HTTPError(400)
        try:
            done = action(portal_session)
        except StripeError as error:
            self.set_status(error.status)
            self._show(portal_session, "", problem=str(error))
            return
        self.redirect(f"{self.request.path}?done={done}", status=303)

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        """Say of a session that is not there what to do."""
        if status_code != 404:
            super().write_error(status_code, **kwargs)
            return
        text = "This session has expired, or there never was one. Open the portal again from the "
        self.show("message.html", "Session not found", text=f"{text}page that you came from.")

    def _session(self, session_id: str) -> Object:
        portal_session = self.find(session_id, "billing_portal.session")
        age = self.sandbox.clock() - portal_session["created"]
        if age > _SESSION_SECONDS or self.sandbox.get(portal_session["customer"]).get("deleted"):
            raise HTTPError(404)
        return portal_session

    def _show(self, portal_session: Object, done: str, problem: str = "") -> None:
        customer_id = portal_session["customer"]
        customer = self.sandbox.get(customer_id)
        default = customer["invoice_settings"]["default_payment_method"]
        subscriptions = self._list("subscriptions", customer_id, status="all")
        method_id = next(
            (found for s in subscriptions if (found := s["default_payment_method"])), default
        )
        invoices = self._list("invoices", customer_id)
        self.show(
            "portal.html",
            "Billing portal",
            back=_link(portal_session["return_url"]),
            card=self.sandbox.get(method_id)["card"] if method_id else None,
            customer=customer,
            done=_DONE.get(done, ""),
            features=self._features(portal_session),
            invoices=invoices,
            problem=problem,
            subscriptions=[s for s in subscriptions if s["status"] not in _ENDED],
        )

    def _cancel(self, portal_session: Object) -> str:
        cancel = self._features(portal_session)["subscription_cancel"]
        _check_enabled(cancel)
        now = cancel["mode"] == "immediately"
        self.sandbox.cancel_subscription(self._own(portal_session, "subscription"), now=now)
        return "canceled" if now else "ending"

    def _resume(self, portal_session: Object) -> str:
        _check_enabled(self._features(portal_session)["subscription_cancel"])
        path = f"/v1/subscriptions/{self._own(portal_session, 'subscription')}"
        self.sandbox.call("POST", path, cancel_at_period_end=False)
        return "kept"

    def _change_card(self, portal_session: Object) -> str:
        """Make a new card the one that is charged: the customer's and the subscriptions'."""
        _check_enabled(self._features(portal_session)["payment_method_update"])
        call, customer_id = self.sandbox.call, portal_session["customer"]
        card = {"number": self.get_body_argument("number", ""), **self._expiry()}
        method_id = call("POST", "/v1/payment_methods", type="card", card=card)["id"]
        call("POST", f"/v1/payment_methods/{method_id}/attach", customer=customer_id)
        settings = {"default_payment_method": method_id}
        call("POST", f"/v1/customers/{customer_id}", invoice_settings=settings)
        for subscription in self._list("subscriptions", customer_id):
            path = f"/v1/subscriptions/{subscription['id']}"
            call("POST", path, default_payment_method=method_id)
        return "card"

    def _pay(self, portal_session: Object) -> str:
        self.sandbox.call("POST", f"/v1/invoices/{self._own(portal_session, 'invoice')}/pay")
        return "paid"

    def _expiry(self) -> dict[str, int]:
        digits = "".join(filter(str.isdigit, self.get_body_argument("expiry", "")))
        if len(digits) != 4 or not 1 <= int(digits[:2]) <= 12:
            raise bad_request("Your card's expiration date is incomplete: write MM / YY.")
        return {"exp_month": int(digits[:2]), "exp_year": 2000 + int(digits[2:])}

    def _own(self, portal_session: Object, kind: str) -> str:
        """Return the identifier in the form, of an object that is this customer's."""
        found = self.find(self.get_body_argument("id", ""), kind)
        if found["customer"] != portal_session["customer"]:
            raise HTTPError(404)
        return str(found["id"])

    def _features(self, portal_session: Object) -> Object:
        features: Object = self.sandbox.get(portal_session["configuration"])["features"]
        return features

    def _list(self, name: str, customer_id: str, **params: Any) -> list[Object]:
        found = self.sandbox.call("GET", f"/v1/{name}", customer=customer_id, limit=100, **params)
        objects: list[Object] = found["data"]
        return objects


class SignInPage(Page):
    """The portal's link to share, where a customer without a session signs in."""

    def get(self) -> None:
        text = (
            "At Stripe, customers sign in here with their e-mail address. The local Stripe sends "
            "no mail: open the portal from the page that sells, which makes a session for you."
        )
        self.show("message.html", "Billing portal", text=text)


def _check_enabled(feature: Object) -> None:
    if not feature["enabled"]:
        raise bad_request("This is not enabled in the portal's configuration.")


def _link(url: str | None) -> tuple[str, str] | None:
    """Return where a return URL leads and the name of the place; None if it is no web page."""
    parts = urlsplit(url or "")
    return (parts.geturl(), parts.netloc) if parts.scheme in ("http", "https") else None


def portal_handlers(sandbox: SandboxActions) -> list[Any]:
    """Return the handlers of the portal."""
    arguments = {"sandbox": sandbox}
    return [
        (r"/sandbox/portal", SignInPage, arguments),
        (r"/sandbox/portal/(\w+)", PortalPage, arguments),
    ]
