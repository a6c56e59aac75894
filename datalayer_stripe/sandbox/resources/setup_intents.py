"""SetupIntents, which save a card for later payments.

https://docs.stripe.com/api/setup_intents
"""

import copy
from collections.abc import Mapping
from typing import Any

from ..api import params as p
from ..api.documented import accept, changes_of
from ..api.lists import LIST_FIELDS, of_customer, page
from ..api.routes import Route
from ..engine.backend import Backend
from ..engine.card_vault import CardVault
from ..engine.cards import Authentication
from ..engine.errors import SandboxCardError, StripeError, bad_request
from ..engine.intents import AUTHENTICATION_FAILURE, METHOD_SELECTIONS, next_action
from ..shapes import payments as shapes
from ..shapes.objects import Object
from .payment_methods import DATA_FIELDS

_OPEN_STATUSES = ("requires_payment_method", "requires_confirmation", "requires_action")
_ATTEMPT_FIELDS: p.Fields = {
    "payment_method": p.string,
    "payment_method_data": p.hash_of(DATA_FIELDS, required=["type"]),
    "use_stripe_sdk": p.boolean,
    "client_secret": p.string,
}
_CONFIRM_FIELDS = accept("POST /v1/setup_intents/{id}/confirm", _ATTEMPT_FIELDS)
_CREATE_FIELDS = accept(
    "POST /v1/setup_intents",
    {
        **_ATTEMPT_FIELDS,
        "automatic_payment_methods": p.hash_of(
            {"enabled": p.boolean, "allow_redirects": p.choice("always", "never")},
            required=["enabled"],
        ),
        "allowed_payment_method_types": p.list_of(p.choice("card")),
        "payment_method_types": p.list_of(p.choice("card")),
        "customer": p.string,
        "flow_directions": p.list_of(p.choice("inbound", "outbound")),
        "usage": p.choice("off_session", "on_session"),
        "confirm": p.boolean,
    },
)
_LIST_FIELDS = accept("GET /v1/setup_intents", {**LIST_FIELDS, "customer": p.string})
# Set by `_set_method`, and by Stripe alone.
_NOT_STORED = ("payment_method", "client_secret")


class SetupIntents:
    """The API's operations on SetupIntents for cards.

    Args:
        backend: the sandbox's state.
        vault: the payment methods.
    """

    def __init__(self, backend: Backend, vault: CardVault) -> None:
        self._backend = backend
        self._vault = vault

    def create(self, raw: Mapping[str, Any]) -> Object:
        """Create a SetupIntent; with `confirm=true` also confirm it."""
        values = p.read(raw, _CREATE_FIELDS)
        p.check_exclusive(values, "allowed_payment_method_types", *METHOD_SELECTIONS)
        if values.get("customer"):
            self._backend.store.get("customer", values["customer"], "customer")
        method_types = values.pop("payment_method_types", None)
        automatic = values.pop("automatic_payment_methods", None)
        intent = self.new(values.get("customer"))
        chosen = method_types or values.get("allowed_payment_method_types")
        if automatic or not chosen:
            redirects = (automatic or {}).get("allow_redirects", "always")
            intent["automatic_payment_methods"] = {"allow_redirects": redirects, "enabled": True}
        intent["allowed_payment_method_types"] = values.get("allowed_payment_method_types")
        stored = {name: value for name, value in values.items() if name not in _NOT_STORED}
        intent.update(changes_of(intent, stored))
        self._set_method(intent, values)
        self._backend.create(intent, "setup_intent.created")
        return self._confirm(intent, values) if values.get("confirm") else intent

    def new(self, customer_id: str | None) -> Object:
        """Return a new SetupIntent that is not stored yet."""
        intent_id = self._backend.ids.new("seti")
        secret = self._backend.ids.client_secret(intent_id)
        intent = shapes.setup_intent(intent_id, secret, self._backend.now())
        intent["customer"] = customer_id
        return intent

    def retrieve(self, raw: Mapping[str, Any], id: str) -> Object:
        """Return a SetupIntent."""
        p.read(raw, {"client_secret": p.string, "expand": p.list_of(p.string)})
        return self._backend.store.get("setup_intent", id)

    def confirm(self, raw: Mapping[str, Any], id: str) -> Object:
        """Confirm a SetupIntent with a payment method or a test card's number."""
        values = p.read(raw, _CONFIRM_FIELDS)
        intent = self._backend.store.get("setup_intent", id)
        self._check_open(intent, "confirm")
        self._set_method(intent, values)
        return self._confirm(intent, values)

    def authenticate(self, intent: Object, accept: bool) -> Object:
        """Complete the authentication of a SetupIntent as its cardholder.

        Args:
            intent: the SetupIntent.
            accept: whether the cardholder accepts.

        Raises:
            StripeError: the SetupIntent does not require authentication.
        """
        if intent["status"] != "requires_action":
            raise _unexpected_state(
                intent,
                f"This SetupIntent has a status of {intent['status']}: it does not require "
                "authentication.",
            )
        method = self._backend.store.get("payment_method", intent["payment_method"])
        if accept:
            return self._succeed(intent, method)
        error = SandboxCardError(
            AUTHENTICATION_FAILURE,
            code="setup_intent_authentication_failure",
            payment_method=copy.deepcopy(method),
        )
        return self._set_failed(intent, error)

    def cancel(self, raw: Mapping[str, Any], id: str) -> Object:
        """Cancel a SetupIntent that has not succeeded."""
        reasons = p.choice("abandoned", "duplicate", "requested_by_customer")
        fields = {"cancellation_reason": reasons, "expand": p.list_of(p.string)}
        values = p.read(raw, fields)
        intent = self._backend.store.get("setup_intent", id)
        self._check_open(intent, "cancel")
        reason = values.get("cancellation_reason")
        changes = {"cancellation_reason": reason, "next_action": None, "status": "canceled"}
        self._backend.update(intent, changes)
        self._backend.emit("setup_intent.canceled", intent)
        return intent

    def list_all(self, raw: Mapping[str, Any]) -> Object:
        """Return a page of SetupIntents."""
        values = p.read(raw, _LIST_FIELDS)
        intents = of_customer(self._backend.store.of_kind("setup_intent"), values)
        return page(intents, values, "/v1/setup_intents")

    def routes(self) -> list[Route]:
        """Return the routes of SetupIntents."""
        path = "/v1/setup_intents"
        return [
            Route("POST", path, self.create),
            Route("GET", path, self.list_all),
            Route("GET", path + "/{id}", self.retrieve, public=True),
            Route("POST", path + "/{id}/confirm", self.confirm, public=True),
            Route("POST", path + "/{id}/cancel", self.cancel),
        ]

    def _check_open(self, intent: Object, verb: str) -> None:
        if intent["status"] not in _OPEN_STATUSES:
            raise _unexpected_state(
                intent,
                f"You cannot {verb} this SetupIntent because it has a status of "
                f"{intent['status']}.",
            )

    def _set_method(self, intent: Object, values: Mapping[str, Any]) -> None:
        if values.get("payment_method_data"):
            method = self._vault.create_from_data(values["payment_method_data"])
        elif values.get("payment_method"):
            method = self._vault.resolve(values["payment_method"])
        else:
            return
        if method["customer"] not in (None, intent["customer"]):
            raise bad_request(
                f"The provided PaymentMethod ({method['id']}) belongs to another customer.",
                param="payment_method",
            )
        intent["payment_method"] = method["id"]
        if intent["status"] == "requires_payment_method":
            intent["status"] = "requires_confirmation"

    def _confirm(self, intent: Object, values: Mapping[str, Any]) -> Object:
        if not intent["payment_method"]:
            raise _unexpected_state(
                intent,
                "You cannot confirm this SetupIntent because it's missing a payment method. You "
                "can either update the SetupIntent with a payment method and then confirm it "
                "again, or confirm it again directly with a payment method.",
            )
        method = self._backend.store.get("payment_method", intent["payment_method"])
        card = self._vault.card(method)
        if card.decline is not None:
            error = SandboxCardError(
                card.decline.message,
                code=card.decline.code,
                decline_code=card.decline.decline_code,
                payment_method=copy.deepcopy(method),
            )
            self._set_failed(intent, error)
            error.error["setup_intent"] = copy.deepcopy(intent)
            raise error
        if card.authentication is Authentication.NEVER:
            return self._succeed(intent, method)
        return_url = None if values.get("use_stripe_sdk") else values.get("return_url")
        action = next_action(self._backend, intent["id"], return_url)
        self._backend.update(intent, {"next_action": action, "status": "requires_action"})
        self._backend.emit("setup_intent.requires_action", intent)
        return intent

    def _succeed(self, intent: Object, method: Object) -> Object:
        self._backend.update(
            intent, {"last_setup_error": None, "next_action": None, "status": "succeeded"}
        )
        self._vault.mark_set_up(method)
        if intent["customer"]:
            customer = self._backend.store.get("customer", intent["customer"], "customer")
            self._vault.attach(method, customer)
        self._backend.emit("setup_intent.succeeded", intent)
        return intent

    def _set_failed(self, intent: Object, error: SandboxCardError) -> Object:
        self._backend.update(
            intent,
            {
                "last_setup_error": {**error.error, "payment_method_type": "card"},
                "next_action": None,
                "payment_method": None,
                "status": "requires_payment_method",
            },
        )
        self._backend.emit("setup_intent.setup_failed", intent)
        return intent


def _unexpected_state(intent: Object, message: str) -> StripeError:
    return bad_request(
        message, code="setup_intent_unexpected_state", setup_intent=copy.deepcopy(intent)
    )
