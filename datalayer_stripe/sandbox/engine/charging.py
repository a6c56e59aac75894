"""Payment of PaymentIntents with cards.

https://docs.stripe.com/payments/paymentintents/lifecycle
"""

import copy
from dataclasses import dataclass
from typing import Any, Protocol

from ..shapes import payments as shapes
from ..shapes.objects import Object
from .backend import Backend
from .card_vault import CardVault
from .cards import AUTHENTICATION_REQUIRED, Authentication, Decline
from .errors import SandboxCardError, bad_request
from .intents import AUTHENTICATION_FAILURE, next_action


class PaymentObserver(Protocol):
    """Receiver of payment outcomes, such as the billing of invoices."""

    def payment_succeeded(self, intent: Object) -> None:
        """Handle a PaymentIntent that has succeeded."""

    def payment_failed(self, intent: Object) -> None:
        """Handle a PaymentIntent whose payment was declined."""

    def payment_requires_action(self, intent: Object) -> None:
        """Handle a PaymentIntent that requires authentication."""


@dataclass(frozen=True)
class Attempt:
    """One attempt to pay a PaymentIntent.

    Attributes:
        method: the payment method.
        off_session: whether the customer is absent and cannot authenticate.
        return_url: where to redirect the browser after authentication; None: Stripe.js shows the
            authentication page in a dialog.
        decline: decline the payment with this reason, whatever the card.
        authenticated: whether the cardholder has authenticated this attempt.
    """

    method: Object
    off_session: bool = False
    return_url: str | None = None
    decline: Decline | None = None
    authenticated: bool = False


class Charging:
    """Charges cards for PaymentIntents.

    Args:
        backend: the sandbox's state.
        vault: knows the test card of each payment method.
    """

    def __init__(self, backend: Backend, vault: CardVault) -> None:
        self._backend = backend
        self._vault = vault
        self._observers: list[PaymentObserver] = []

    def observe(self, observer: PaymentObserver) -> None:
        """Call `observer` with every future outcome."""
        self._observers.append(observer)

    def attempt(self, intent: Object, attempt: Attempt) -> Object:
        """Try to pay a PaymentIntent.

        Args:
            intent: the PaymentIntent.
            attempt: the payment method and the circumstances.

        Returns:
            The PaymentIntent, with the status `succeeded` or `requires_action`.

        Raises:
            SandboxCardError: the card was declined; the PaymentIntent records the error.
        """
        decline = attempt.decline or self._decline(attempt)
        required = self._requires_authentication(attempt)
        if decline is None and required and attempt.off_session:
            decline = AUTHENTICATION_REQUIRED
        if decline is not None:
            raise self._fail(intent, attempt, decline)
        if required:
            return self._require_action(intent, attempt)
        return self._succeed(intent, attempt)

    def authenticate(self, intent: Object, accept: bool) -> Object:
        """Complete the authentication of a PaymentIntent as its cardholder.

        Args:
            intent: the PaymentIntent.
            accept: whether the cardholder accepts the payment.

        Raises:
            StripeError: the PaymentIntent does not require authentication.
            SandboxCardError: the payment was declined after the authentication.
        """
        if intent["status"] != "requires_action":
            raise bad_request(
                f"This PaymentIntent has a status of {intent['status']}: it does not require "
                "authentication.",
                code="payment_intent_unexpected_state",
            )
        method = self._backend.store.get("payment_method", intent["payment_method"])
        if accept:
            return self.attempt(intent, Attempt(method, authenticated=True))
        error = {
            "code": "payment_intent_authentication_failure",
            "message": AUTHENTICATION_FAILURE,
            "payment_method": copy.deepcopy(method),
            "payment_method_type": "card",
            "type": "card_error",
        }
        self._set_failed(intent, error)
        return intent

    def would_decline(self, method: Object) -> Decline | None:
        """Return the decline of an off-session payment; None if it would succeed."""
        attempt = Attempt(method, off_session=True)
        required = self._requires_authentication(attempt)
        return self._decline(attempt) or (AUTHENTICATION_REQUIRED if required else None)

    def _decline(self, attempt: Attempt) -> Decline | None:
        card = self._vault.card(attempt.method)
        return card.decline or (card.decline_attached if attempt.method["customer"] else None)

    def _requires_authentication(self, attempt: Attempt) -> bool:
        card = self._vault.card(attempt.method)
        if attempt.authenticated or card.authentication is Authentication.NEVER:
            return False
        set_up = self._vault.is_set_up(attempt.method)
        return card.authentication is Authentication.ALWAYS or not set_up

    def _succeed(self, intent: Object, attempt: Attempt) -> Object:
        charge = self._charge(intent, attempt)
        charge.update(
            amount_captured=intent["amount"],
            balance_transaction=self._backend.ids.new("txn"),
            captured=True,
            outcome=shapes.outcome("authorized"),
            paid=True,
            status="succeeded",
        )
        self._backend.emit("charge.succeeded", charge)
        self._backend.update(
            intent,
            {
                "amount_received": intent["amount"],
                "latest_charge": charge["id"],
                "next_action": None,
                "payment_method": attempt.method["id"],
                "status": "succeeded",
            },
        )
        self._save(intent, attempt)
        self._backend.emit("payment_intent.succeeded", intent)
        for observer in self._observers:
            observer.payment_succeeded(intent)
        return intent

    def _save(self, intent: Object, attempt: Attempt) -> None:
        """Save the card for later payments, if the PaymentIntent requests it."""
        if intent["setup_future_usage"] and intent["customer"]:
            customer = self._backend.store.get("customer", intent["customer"], "customer")
            self._vault.attach(attempt.method, customer)
            self._vault.mark_set_up(attempt.method)

    def _require_action(self, intent: Object, attempt: Attempt) -> Object:
        self._backend.update(
            intent,
            {
                "next_action": next_action(self._backend, intent["id"], attempt.return_url),
                "payment_method": attempt.method["id"],
                "status": "requires_action",
            },
        )
        self._backend.emit("payment_intent.requires_action", intent)
        for observer in self._observers:
            observer.payment_requires_action(intent)
        return intent

    def _fail(self, intent: Object, attempt: Attempt, decline: Decline) -> SandboxCardError:
        charge = self._charge(intent, attempt)
        charge.update(
            failure_code=decline.code,
            failure_message=decline.message,
            outcome=shapes.outcome("issuer_declined", decline.decline_code or decline.code),
            receipt_url=None,
            status="failed",
        )
        self._backend.emit("charge.failed", charge)
        error = SandboxCardError(
            decline.message,
            code=decline.code,
            decline_code=decline.decline_code,
            charge=charge["id"],
            payment_method=copy.deepcopy(attempt.method),
        )
        self._backend.update(intent, {"latest_charge": charge["id"]})
        self._set_failed(intent, {**error.error, "payment_method_type": "card"})
        error.error["payment_intent"] = copy.deepcopy(intent)
        return error

    def _set_failed(self, intent: Object, error: dict[str, Any]) -> None:
        self._backend.update(
            intent,
            {
                "last_payment_error": error,
                "next_action": None,
                "payment_method": None,
                "status": "requires_payment_method",
            },
        )
        self._backend.emit("payment_intent.payment_failed", intent)
        for observer in self._observers:
            observer.payment_failed(intent)

    def _charge(self, intent: Object, attempt: Attempt) -> Object:
        backend = self._backend
        charge = shapes.charge(
            backend.ids.new("ch"), intent, attempt.method, backend.url, backend.now()
        )
        if attempt.authenticated:
            charge["payment_method_details"]["card"]["three_d_secure"] = {
                "authentication_flow": "challenge",
                "electronic_commerce_indicator": "05",
                "exemption_indicator": None,
                "result": "authenticated",
                "result_reason": None,
                "transaction_id": backend.ids.token(36),
                "version": "2.2.0",
            }
        return backend.store.put(charge)
