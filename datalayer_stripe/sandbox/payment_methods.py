"""Payment methods: cards, made from test tokens and numbers.

https://docs.stripe.com/api/payment_methods
"""

from collections.abc import Mapping
from typing import Any

from . import params as p
from .backend import Backend
from .cards import Card, card_of_number, card_of_token
from .errors import SandboxCardError, bad_request, invalid, no_such
from .routes import Route
from .shapes import customers as shapes
from .state import LIST_FIELDS, Object, page

DATA_FIELDS: p.Fields = {
    "type": p.choice("card"),
    "card": p.hash_of(
        {
            "number": p.string,
            "exp_month": p.integer,
            "exp_year": p.integer,
            "cvc": p.string,
            "token": p.string,
        }
    ),
    "billing_details": p.hash_of(
        {
            "email": p.string,
            "name": p.string,
            "phone": p.string,
            "address": p.hash_of(
                dict.fromkeys(
                    ("city", "country", "line1", "line2", "postal_code", "state"), p.string
                )
            ),
        }
    ),
    "metadata": p.metadata,
    "allow_redisplay": p.choice("always", "limited", "unspecified"),
}


class PaymentMethods:
    """Payment methods, and which card each one is."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self._cards: dict[str, Card] = {}
        self._set_up: set[str] = set()

    def create(self, raw: Mapping[str, Any]) -> Object:
        """Create a payment method from a test card number."""
        fields = {**DATA_FIELDS, "expand": p.list_of(p.string)}
        return self.from_data(p.read(raw, fields, required=["type"]), "")

    def retrieve(self, raw: Mapping[str, Any], id: str) -> Object:
        """Return a payment method."""
        p.read(raw, {"expand": p.list_of(p.string)})
        return self._backend.store.get("payment_method", id)

    def list_all(self, raw: Mapping[str, Any]) -> Object:
        """Return a page of a customer's payment methods."""
        fields = {**LIST_FIELDS, "customer": p.string, "type": p.choice("card")}
        values = p.read(raw, fields, required=["customer"])
        self._backend.store.get("customer", values["customer"], "customer")
        rows = (
            method
            for method in self._backend.store.of_kind("payment_method")
            if method["customer"] == values["customer"]
        )
        return page(rows, values, "/v1/payment_methods")

    def attach(self, raw: Mapping[str, Any], id: str) -> Object:
        """Attach a payment method, or one made from a test token, to a customer."""
        fields = {"customer": p.string, "expand": p.list_of(p.string)}
        values = p.read(raw, fields, required=["customer"])
        customer = self._backend.store.get("customer", values["customer"], "customer")
        method = self.resolve(id, "id")
        if method["customer"] not in (None, customer["id"]):
            raise bad_request(
                "The payment method you provided has already been attached to a customer.",
                code="payment_method_unexpected_state",
            )
        return self.attach_to(method, customer)

    def detach(self, raw: Mapping[str, Any], id: str) -> Object:
        """Detach a payment method from its customer."""
        p.read(raw, {"expand": p.list_of(p.string)})
        method = self._backend.store.get("payment_method", id)
        if method["customer"] is None:
            raise bad_request(
                "The payment method you provided is not attached to a customer so detachment "
                "is impossible.",
                code="payment_method_unexpected_state",
            )
        return self._backend.update(method, {"customer": None}, "payment_method.detached")

    def routes(self) -> list[Route]:
        """Return the routes of payment methods."""
        return [
            Route("POST", "/v1/payment_methods", self.create, public=True),
            Route("GET", "/v1/payment_methods", self.list_all),
            Route("GET", "/v1/payment_methods/{id}", self.retrieve),
            Route("POST", "/v1/payment_methods/{id}/attach", self.attach),
            Route("POST", "/v1/payment_methods/{id}/detach", self.detach),
        ]

    def card(self, method: Object) -> Card:
        """Return the card that a payment method is; one put in from outside is a good card."""
        return self._cards.get(method["id"], card_of_number("4242424242424242"))

    def resolve(self, method_id: str, param: str = "payment_method") -> Object:
        """Return the payment method of an identifier, or a new one for a test token."""
        card = card_of_token(method_id)
        if card is not None:
            return self.from_card(card)
        found = self._backend.store.find(method_id)
        if found is None or found["object"] != "payment_method":
            status = 404 if param == "id" else 400
            raise no_such("PaymentMethod", method_id, param, status=status)
        return found

    def of_customer(self, method_id: str, customer_id: str | None, param: str) -> Object:
        """Return a payment method that has to be the customer's own."""
        method = self.resolve(method_id, param)
        if method["customer"] != customer_id or customer_id is None:
            raise bad_request(
                f"The customer does not have a payment method with the ID {method['id']}. The "
                "payment method must be attached to the customer.",
                code="resource_missing",
                param=param,
            )
        return method

    def from_card(self, card: Card) -> Object:
        """Create a payment method that is this card."""
        ids = self._backend.ids
        method = shapes.payment_method(ids.new("pm"), card, ids.token(16), self._backend.now())
        self._cards[method["id"]] = card
        return self._backend.store.put(method)

    def from_data(self, data: Mapping[str, Any], prefix: str = "payment_method_data") -> Object:
        """Create a payment method from checked `payment_method_data`."""
        card = data.get("card") or {}
        if not card.get("number"):
            name = "card[number]" if not prefix else f"{prefix}[card][number]"
            raise invalid(f"Missing required param: {name}.", code="parameter_missing", param=name)
        method = self.from_card(card_of_number(card["number"]))
        for name in ("exp_month", "exp_year"):
            method["card"][name] = card.get(name) or method["card"][name]
        details = data.get("billing_details") or {}
        address = {**method["billing_details"]["address"], **(details.get("address") or {})}
        method["billing_details"].update({**details, "address": address})
        method["metadata"] = p.merged_metadata({}, data.get("metadata", {}))
        method["allow_redisplay"] = data.get("allow_redisplay", "unspecified")
        return method

    def attach_to(self, method: Object, customer: Object) -> Object:
        """Attach a payment method to a customer; nothing happens if it is already.

        Raises:
            SandboxCardError: the bank refuses the card; `4000000000000341` passes here and fails
                later.
        """
        if method["customer"] == customer["id"]:
            return method
        decline = self.card(method).decline
        if decline is not None:
            raise SandboxCardError(
                decline.message, code=decline.code, decline_code=decline.decline_code
            )
        self._backend.update(method, {"customer": customer["id"]})
        self._backend.emit("payment_method.attached", method)
        return method

    def set_up(self, method: Object) -> None:
        """Remember that the holder has authenticated this card for later payments."""
        self._set_up.add(method["id"])

    def is_set_up(self, method: Object) -> bool:
        """Say whether the holder has authenticated this card for later payments."""
        return method["id"] in self._set_up
