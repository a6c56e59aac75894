"""Payment methods, and the test card behind each of them."""

from collections.abc import Mapping
from typing import Any

from ..shapes import customers as shapes
from ..shapes.objects import Object
from .backend import Backend
from .cards import Card, card_of_number, card_of_token
from .errors import SandboxCardError, bad_request, missing_param, no_such
from .store import merge_metadata


class CardVault:
    """Store of payment methods that knows the test card of each.

    Args:
        backend: the sandbox's state.
    """

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self._cards: dict[str, Card] = {}
        self._set_up: set[str] = set()

    def card(self, method: Object) -> Card:
        """Return the test card of a payment method.

        A payment method that was stored from outside, with `Sandbox.put`, is a card whose
        payments succeed.
        """
        return self._cards.get(method["id"], card_of_number("4242424242424242"))

    def resolve(self, method_id: str, param: str = "payment_method") -> Object:
        """Return a payment method by its identifier, or create one from a test token.

        Args:
            method_id: `pm_…` or a test token such as `pm_card_visa`.
            param: the parameter that names it, for the error; `id` if it is in the path.

        Raises:
            StripeError: `resource_missing`; 404 if it is in the path, otherwise 400.
        """
        card = card_of_token(method_id)
        if card is not None:
            return self.create_from_card(card)
        found = self._backend.store.find(method_id)
        if found is None or found["object"] != "payment_method":
            status = 404 if param == "id" else 400
            raise no_such("PaymentMethod", method_id, param, status=status)
        return found

    def of_customer(self, method_id: str, customer_id: str | None, param: str) -> Object:
        """Return a payment method that is attached to a customer.

        Args:
            method_id: `pm_…` or a test token.
            customer_id: `cus_…`.
            param: the parameter that names the payment method, for the error.

        Raises:
            StripeError: `resource_missing` if it is not attached to this customer.
        """
        method = self.resolve(method_id, param)
        if method["customer"] != customer_id or customer_id is None:
            raise bad_request(
                f"The customer does not have a payment method with the ID {method['id']}. The "
                "payment method must be attached to the customer.",
                code="resource_missing",
                param=param,
            )
        return method

    def create_from_card(self, card: Card) -> Object:
        """Create and store a payment method for a test card."""
        ids = self._backend.ids
        method = shapes.payment_method(
            ids.new("pm"), card.brand, card.last4, ids.token(16), self._backend.now()
        )
        self._cards[method["id"]] = card
        return self._backend.store.put(method)

    def create_from_data(
        self, data: Mapping[str, Any], prefix: str = "payment_method_data"
    ) -> Object:
        """Create and store a payment method from parameters.

        Args:
            data: the checked `payment_method_data`.
            prefix: the parameter that holds the data, for the error; empty if it is the request
                itself.

        Raises:
            StripeError: the card number is missing, or there is no such test token.
            SandboxCardError: it is not the number of a test card.
        """
        card = data.get("card") or {}
        method = self.create_from_card(_card_of(card, prefix))
        for name in ("exp_month", "exp_year"):
            method["card"][name] = card.get(name) or method["card"][name]
        details = data.get("billing_details") or {}
        address = {**method["billing_details"]["address"], **(details.get("address") or {})}
        method["billing_details"].update({**details, "address": address})
        method["metadata"] = merge_metadata({}, data.get("metadata", {}))
        method["allow_redisplay"] = data.get("allow_redisplay", "unspecified")
        return method

    def attach(self, method: Object, customer: Object) -> Object:
        """Attach a payment method to a customer, unless it is attached already.

        Raises:
            SandboxCardError: the card is declined. `4000000000000341` is accepted here and
                declined at its first payment.
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

    def mark_set_up(self, method: Object) -> None:
        """Record that the cardholder has authenticated this card for later payments."""
        self._set_up.add(method["id"])

    def is_set_up(self, method: Object) -> bool:
        """Return whether the cardholder has authenticated this card for later payments."""
        return method["id"] in self._set_up


def _card_of(data: Mapping[str, Any], prefix: str) -> Card:
    """Return the card of a `card` hash with a test card's number or a token such as `tok_visa`."""
    token = data.get("token")
    if token:
        card = card_of_token(f"pm_card_{token.removeprefix('tok_')}")
        if card is None or not token.startswith("tok_"):
            raise no_such("token", token, _name("token", prefix), status=400)
        return card
    if not data.get("number"):
        raise missing_param(_name("number", prefix))
    return card_of_number(data["number"])


def _name(key: str, prefix: str) -> str:
    """Return the parameter of a key of the `card` hash, as errors name it."""
    return f"{prefix}[card][{key}]" if prefix else f"card[{key}]"
