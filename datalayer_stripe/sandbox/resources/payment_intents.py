"""PaymentIntents.

https://docs.stripe.com/api/payment_intents
"""

import copy
from collections.abc import Mapping
from typing import Any

from ..api import params as p
from ..api.documented import accept, changes_of
from ..api.lists import LIST_FIELDS, of_customer, page
from ..api.routes import Route
from ..api.search import NUMERIC, TOKEN, SearchFields, search
from ..engine.backend import Backend
from ..engine.card_vault import CardVault
from ..engine.charging import Attempt, Charging
from ..engine.errors import StripeError, bad_request, invalid
from ..engine.intents import METHOD_SELECTIONS, cancel_payment_intent, new_payment_intent
from ..shapes.objects import Object
from .payment_methods import DATA_FIELDS

_OPEN_STATUSES = ("requires_payment_method", "requires_confirmation", "requires_action")
# In the currency's minor unit: https://docs.stripe.com/currencies#minimum-and-maximum-charge-amounts
_MIN_AMOUNTS = {"gbp": 30}
_DEFAULT_MIN_AMOUNT = 50

_FUTURE_USAGE = p.choice("off_session", "on_session")
_ATTEMPT_FIELDS: p.Fields = {
    "payment_method": p.string,
    "payment_method_data": p.hash_of(DATA_FIELDS, required=["type"]),
    "error_on_requires_action": p.boolean,
    "off_session": p.boolean,
    "setup_future_usage": _FUTURE_USAGE,
    "use_stripe_sdk": p.boolean,
    "client_secret": p.string,
}
_CONFIRM_FIELDS = accept("POST /v1/payment_intents/{id}/confirm", _ATTEMPT_FIELDS)
_UPDATE_FIELDS = accept(
    "POST /v1/payment_intents/{id}",
    {
        "amount": p.amount,
        "currency": p.currency,
        "customer": p.string,
        "payment_method": p.string,
        "setup_future_usage": _FUTURE_USAGE,
    },
)
_CREATE_FIELDS = accept(
    "POST /v1/payment_intents",
    {
        **_ATTEMPT_FIELDS,
        "amount": p.amount,
        "currency": p.currency,
        "customer": p.string,
        "automatic_payment_methods": p.hash_of(
            {"enabled": p.boolean, "allow_redirects": p.choice("always", "never")},
            required=["enabled"],
        ),
        "allowed_payment_method_types": p.list_of(p.choice("card")),
        "payment_method_types": p.list_of(p.choice("card")),
        "capture_method": p.choice("automatic", "automatic_async"),
        "confirmation_method": p.choice("automatic", "manual"),
        "confirm": p.boolean,
    },
)
_LIST_FIELDS = accept("GET /v1/payment_intents", {**LIST_FIELDS, "customer": p.string})
_SEARCH: SearchFields = {
    "amount": NUMERIC,
    "created": NUMERIC,
    "currency": TOKEN,
    "customer": TOKEN,
    "status": TOKEN,
}
# Parameters of one attempt, which the object does not store.
_ATTEMPT_ONLY = (
    "error_on_requires_action",
    "off_session",
    "payment_method_data",
    "return_url",
    "use_stripe_sdk",
)


class PaymentIntents:
    """The API's operations on PaymentIntents that are paid with cards.

    Args:
        backend: the sandbox's state.
        vault: the payment methods.
        charging: pays PaymentIntents.
    """

    def __init__(self, backend: Backend, vault: CardVault, charging: Charging) -> None:
        self._backend = backend
        self._vault = vault
        self._charging = charging

    def create(self, raw: Mapping[str, Any]) -> Object:
        """Create a PaymentIntent; with `confirm=true` also confirm it."""
        values = p.read(raw, _CREATE_FIELDS, required=["amount", "currency"])
        p.check_exclusive(values, "allowed_payment_method_types", *METHOD_SELECTIONS)
        confirm = values.pop("confirm", False)
        if "payment_method_data" in values and not confirm:
            raise invalid(
                "You can only pass in `payment_method_data` when confirming a PaymentIntent.",
                param="payment_method_data",
            )
        _check_amount(values["amount"], values["currency"])
        if values.get("customer"):
            self._backend.store.get("customer", values["customer"], "customer")
        method_types = values.pop("payment_method_types", None)
        automatic = values.pop("automatic_payment_methods", None)
        intent = new_payment_intent(self._backend, values["amount"], values["currency"])
        chosen = method_types or values.get("allowed_payment_method_types")
        if automatic or not chosen:
            redirects = (automatic or {}).get("allow_redirects", "always")
            intent["automatic_payment_methods"] = {"allow_redirects": redirects, "enabled": True}
        intent["capture_method"] = values.get("capture_method", "automatic_async")
        attempt = {name: values[name] for name in _ATTEMPT_ONLY if name in values}
        self._apply(intent, values)
        if confirm:
            self._check_return_url(intent, values)
        self._backend.create(intent, "payment_intent.created")
        return self._confirm(intent, attempt) if confirm else intent

    def retrieve(self, raw: Mapping[str, Any], id: str) -> Object:
        """Return a PaymentIntent."""
        p.read(raw, {"client_secret": p.string, "expand": p.list_of(p.string)})
        return self._backend.store.get("payment_intent", id)

    def update(self, raw: Mapping[str, Any], id: str) -> Object:
        """Update a PaymentIntent; after it has ended, only fields such as its description."""
        values = p.read(raw, _UPDATE_FIELDS)
        intent = self._backend.store.get("payment_intent", id)
        fixed = [name for name in ("amount", "currency", "customer") if name in values]
        if fixed and intent["status"] not in _OPEN_STATUSES:
            raise _unexpected_state(
                intent,
                f"This PaymentIntent's {fixed[0]} could not be updated because it has a status of "
                f"{intent['status']}. You may only update the {fixed[0]} of a PaymentIntent with "
                f"one of the following statuses: {', '.join(_OPEN_STATUSES)}.",
            )
        if "amount" in values:
            _check_amount(values["amount"], values.get("currency") or intent["currency"])
        self._apply(intent, values)
        return intent

    def confirm(self, raw: Mapping[str, Any], id: str) -> Object:
        """Confirm a PaymentIntent with a payment method or a test card's number."""
        values = p.read(raw, _CONFIRM_FIELDS)
        intent = self._backend.store.get("payment_intent", id)
        if intent["status"] not in _OPEN_STATUSES:
            reason = (
                "it has already succeeded after being previously confirmed"
                if intent["status"] == "succeeded"
                else f"it has a status of {intent['status']}"
            )
            raise _unexpected_state(
                intent, f"You cannot confirm this PaymentIntent because {reason}."
            )
        if "client_secret" not in values:
            self._check_return_url(intent, values)
        self._apply(intent, values)
        return self._confirm(intent, values)

    def cancel(self, raw: Mapping[str, Any], id: str) -> Object:
        """Cancel a PaymentIntent that has not succeeded."""
        reasons = p.choice("duplicate", "fraudulent", "requested_by_customer", "abandoned")
        fields = {"cancellation_reason": reasons, "expand": p.list_of(p.string)}
        values = p.read(raw, fields)
        intent = self._backend.store.get("payment_intent", id)
        if intent["status"] not in _OPEN_STATUSES:
            raise _unexpected_state(
                intent,
                f"You cannot cancel this PaymentIntent because it has a status of "
                f"{intent['status']}. Only a PaymentIntent with one of the following statuses may "
                f"be canceled: {', '.join(_OPEN_STATUSES)}.",
            )
        return cancel_payment_intent(self._backend, intent, values.get("cancellation_reason"))

    def list_all(self, raw: Mapping[str, Any]) -> Object:
        """Return a page of PaymentIntents."""
        values = p.read(raw, _LIST_FIELDS)
        intents = of_customer(self._backend.store.of_kind("payment_intent"), values)
        return page(intents, values, "/v1/payment_intents")

    def search(self, raw: Mapping[str, Any]) -> Object:
        """Return a page of the PaymentIntents that match a query."""
        intents = self._backend.store.of_kind("payment_intent")
        return search(intents, raw, _SEARCH, "/v1/payment_intents/search")

    def routes(self) -> list[Route]:
        """Return the routes of PaymentIntents."""
        path = "/v1/payment_intents"
        return [
            Route("POST", path, self.create),
            Route("GET", path, self.list_all),
            Route("GET", path + "/search", self.search),
            Route("GET", path + "/{id}", self.retrieve, public=True),
            Route("POST", path + "/{id}", self.update),
            Route("POST", path + "/{id}/confirm", self.confirm, public=True),
            Route("POST", path + "/{id}/cancel", self.cancel),
        ]

    def _apply(self, intent: Object, values: Mapping[str, Any]) -> None:
        """Set the fields of a PaymentIntent from parameters."""
        fields = changes_of(intent, values)
        fields.pop("client_secret", None)
        if fields.get("payment_method"):
            customer = fields.get("customer", intent["customer"])
            method = self._usable(fields["payment_method"], customer)
            fields["payment_method"] = method["id"]
            if intent["status"] == "requires_payment_method":
                fields["status"] = "requires_confirmation"
        intent.update(fields)

    def _usable(self, method_id: str, customer_id: str | None) -> Object:
        method = self._vault.resolve(method_id)
        if method["customer"] not in (None, customer_id):
            raise bad_request(
                f"The provided PaymentMethod ({method['id']}) belongs to a customer. Please "
                "include the customer in the `customer` parameter on the PaymentIntent.",
                param="payment_method",
            )
        return method

    def _confirm(self, intent: Object, values: Mapping[str, Any]) -> Object:
        if values.get("payment_method_data"):
            method = self._vault.create_from_data(values["payment_method_data"])
        elif intent["payment_method"]:
            method = self._backend.store.get("payment_method", intent["payment_method"])
        else:
            raise _unexpected_state(
                intent,
                "You cannot confirm this PaymentIntent because it's missing a payment method. You "
                "can either update the PaymentIntent with a payment method and then confirm it "
                "again, or confirm it again directly with a payment method or ConfirmationToken.",
            )
        # A payment that needs authentication is declined if the customer is not there to do it, or
        # if the caller has said that it cannot handle it.
        off_session = any(values.get(n) for n in ("off_session", "error_on_requires_action"))
        # Stripe.js shows the authentication in a dialog, even if it sends a return URL.
        return_url = None if values.get("use_stripe_sdk") else values.get("return_url")
        attempt = Attempt(method, off_session=off_session, return_url=return_url)
        return self._charging.attempt(intent, attempt)

    def _check_return_url(self, intent: Object, values: Mapping[str, Any]) -> None:
        """Reject a confirmation that could redirect but has no return URL.

        https://docs.stripe.com/api/payment_intents/confirm#confirm_payment_intent-return_url
        """
        automatic = intent["automatic_payment_methods"]
        if automatic is None or automatic["allow_redirects"] == "never":
            return
        if not (values.get("return_url") or values.get("use_stripe_sdk")):
            raise invalid(
                "This PaymentIntent is configured to accept payment methods enabled in your "
                "Dashboard. Because some of these payment methods might redirect your customer "
                "off of your page, you must provide a `return_url`. If you don't want to accept "
                "redirect-based payment methods, set `automatic_payment_methods[enabled]` to "
                "`true` and `automatic_payment_methods[allow_redirects]` to `never` when creating "
                "Setup Intents and Payment Intents."
            )


def _check_amount(amount: int | None, currency: str) -> None:
    if not amount:
        raise invalid(
            "This value must be greater than or equal to 1.",
            code="parameter_invalid_integer",
            param="amount",
        )
    if amount < _MIN_AMOUNTS.get(currency, _DEFAULT_MIN_AMOUNT):
        raise invalid("Amount must be at least $0.50 usd", code="amount_too_small", param="amount")


def _unexpected_state(intent: Object, message: str) -> StripeError:
    return bad_request(
        message, code="payment_intent_unexpected_state", payment_intent=copy.deepcopy(intent)
    )
