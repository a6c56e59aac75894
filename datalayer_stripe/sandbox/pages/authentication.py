"""The page on which a cardholder authenticates a payment (3-D Secure)."""

from typing import Any

from tornado.httputil import url_concat

from ..actions import SandboxActions
from ..engine.errors import StripeError
from ..engine.formatting import money
from ..shapes.objects import Object
from .base import Page
from .static_files import FRAMED_POLICY


class AuthenticationPage(Page):
    """Page on which a cardholder accepts or rejects a payment (3-D Secure)."""

    # Stripe.js embeds this page in a dialog, and the form may redirect to a page of any origin.
    content_security_policy = FRAMED_POLICY

    def get(self, intent_id: str) -> None:
        """Show the form that asks the cardholder to accept or reject."""
        intent = self.find(intent_id, "payment_intent", "setup_intent")
        if intent["status"] != "requires_action":
            self._finish(f"Nothing to do: {intent['status']}.")
            return
        request = "A shop wants to save your card for later payments."
        if intent["object"] == "payment_intent":
            request = f"A payment of {money(intent['amount'], intent['currency'])}."
        self.show("authenticate.html", "Authentication", request=request)

    def post(self, intent_id: str) -> None:
        """Complete the authentication, and redirect to the return URL if there is one."""
        intent = self.find(intent_id, "payment_intent", "setup_intent")
        action = intent["next_action"] or {}
        try:
            accept = self.get_body_argument("accept") == "true"
            intent = self.sandbox.authenticate(intent_id, accept)
        except StripeError as error:
            self._finish(str(error))
            return
        return_url = action.get("redirect_to_url", {}).get("return_url")
        if return_url:
            self.redirect(url_concat(return_url, _return_parameters(intent)))
        else:
            self._finish(f"Done: {intent['status']}.")

    def _finish(self, text: str) -> None:
        self.show("authenticated.html", "Authentication", text=text)


def _return_parameters(intent: Object) -> dict[str, str]:
    """Return the query parameters of the return URL.

    https://docs.stripe.com/payments/accept-a-payment
    """
    kind = intent["object"]
    status = "succeeded" if intent["status"] == "succeeded" else "failed"
    return {
        kind: intent["id"],
        f"{kind}_client_secret": intent["client_secret"],
        "redirect_status": status,
    }


def authentication_handlers(sandbox: SandboxActions) -> list[Any]:
    """Return the handler of the authentication page."""
    return [(r"/sandbox/authenticate/(\w+)", AuthenticationPage, {"sandbox": sandbox})]
