"""Pages of the billing portal: plan, card, invoices.

https://docs.stripe.com/customer-management
"""

from typing import Any
from urllib.parse import urlsplit

from tornado.web import HTTPError

from ..actions import SandboxActions
from ..engine.errors import StripeError, bad_request
from ..shapes.objects import Object
from .base import Page

# At Stripe a session expires one hour after the customer's last request; here it expires one hour
# after its creation. https://docs.stripe.com/api/customer_portal/sessions
_SESSION_LIFETIME = 3600
_ENDED_STATUSES = ("canceled", "incomplete_expired")
_CONFIRMATIONS = {
    "canceled": "Your plan is canceled.",
    "card": "Your card has been changed.",
    "ending": "Your plan will end with the current period.",
    "kept": "Your plan continues.",
    "paid": "Your invoice is paid.",
}


class PortalPage(Page):
    """Page of a portal session. After a successful POST it redirects to itself."""

    def get(self, session_id: str) -> None:
        """Show the customer's plan, card and invoices."""
        self._show(self._session(session_id), self.get_query_argument("done", ""))

    def post(self, session_id: str) -> None:
        """Run the action of a form."""
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
        """Answer an error as a page; for a missing session, explain how to open a new one."""
        if status_code != 404:
            super().write_error(status_code, **kwargs)
            return
        text = (
            "This session has expired or does not exist. Go back to the page that you came from "
            "and open the portal again."
        )
        self.show("message.html", "Session not found", text=text)

    def _session(self, session_id: str) -> Object:
        portal_session = self.find(session_id, "billing_portal.session")
        age = self.sandbox.clock() - portal_session["created"]
        if age > _SESSION_LIFETIME or self.sandbox.get(portal_session["customer"]).get("deleted"):
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
            done=_CONFIRMATIONS.get(done, ""),
            features=self._features(portal_session),
            invoices=invoices,
            problem=problem,
            subscriptions=[s for s in subscriptions if s["status"] not in _ENDED_STATUSES],
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
        """Make a new card the default of the customer and of its subscriptions."""
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
            raise bad_request("Your card's expiration date is incomplete. Use the format MM / YY.")
        return {"exp_month": int(digits[:2]), "exp_year": 2000 + int(digits[2:])}

    def _own(self, portal_session: Object, kind: str) -> str:
        """Return the object identifier in the form.

        Raises:
            HTTPError: 404 if the object belongs to another customer.
        """
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
    """Page of the portal's shareable link, on which a customer without a session signs in."""

    def get(self, configuration_id: str = "") -> None:
        """Explain how to open the portal.

        Args:
            configuration_id: the configuration of the link; empty: any.

        Raises:
            HTTPError: 404 if the configuration has no login page.
        """
        if configuration_id:
            configuration = self.find(configuration_id, "billing_portal.configuration")
            if not configuration["login_page"]["enabled"]:
                raise HTTPError(404)
        text = (
            "At Stripe, customers sign in here with their e-mail address. The local Stripe sends "
            "no mail. Open the portal from the shop's page instead."
        )
        self.show("message.html", "Billing portal", text=text)


def _check_enabled(feature: Object) -> None:
    if not feature["enabled"]:
        raise bad_request("This action is not enabled in the portal's configuration.")


def _link(url: str | None) -> tuple[str, str] | None:
    """Return the URL and the host name of a return URL; None if it is not a web page."""
    parts = urlsplit(url or "")
    return (parts.geturl(), parts.netloc) if parts.scheme in ("http", "https") else None


def portal_handlers(sandbox: SandboxActions) -> list[Any]:
    """Return the handlers of the portal."""
    arguments = {"sandbox": sandbox}
    return [
        (r"/sandbox/portal", SignInPage, arguments),
        (r"/sandbox/portal/login/(\w+)", SignInPage, arguments),
        (r"/sandbox/portal/(\w+)", PortalPage, arguments),
    ]
