"""Payment methods: cards, created from test tokens and numbers.

https://docs.stripe.com/api/payment_methods
"""

from collections.abc import Mapping
from typing import Any

from ..api import params as p
from ..api.documented import accept, changes_of
from ..api.lists import LIST_FIELDS, page
from ..api.routes import Route
from ..engine.backend import Backend
from ..engine.card_vault import CardVault
from ..engine.errors import bad_request
from ..shapes.objects import Object

_ADDRESS = p.hash_of(
    dict.fromkeys(("city", "country", "line1", "line2", "postal_code", "state"), p.string)
)
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
        {"email": p.string, "name": p.string, "phone": p.string, "address": _ADDRESS}
    ),
    "metadata": p.metadata,
    "allow_redisplay": p.choice("always", "limited", "unspecified"),
}
_CREATE = accept("POST /v1/payment_methods", DATA_FIELDS)
_UPDATE = accept(
    "POST /v1/payment_methods/{id}", {"allow_redisplay": DATA_FIELDS["allow_redisplay"]}
)
_LIST = accept(
    "GET /v1/payment_methods", {**LIST_FIELDS, "customer": p.string, "type": p.choice("card")}
)
_ATTACH = accept("POST /v1/payment_methods/{id}/attach", {"customer": p.string})


class PaymentMethods:
    """The API's operations on payment methods.

    Args:
        backend: the sandbox's state.
        vault: stores the payment methods.
    """

    def __init__(self, backend: Backend, vault: CardVault) -> None:
        self._backend = backend
        self._vault = vault

    def create(self, raw: Mapping[str, Any]) -> Object:
        """Create a payment method from a test card number."""
        return self._vault.create_from_data(p.read(raw, _CREATE, required=["type"]), "")

    def update(self, raw: Mapping[str, Any], id: str) -> Object:
        """Update a payment method that is attached to a customer."""
        values = p.read(raw, _UPDATE)
        method = self._backend.store.get("payment_method", id)
        if method["customer"] is None:
            raise bad_request(
                "You must save this PaymentMethod to a customer before you can update it."
            )
        changes = changes_of(method, values)
        return self._backend.update(method, changes, "payment_method.updated")

    def retrieve(self, raw: Mapping[str, Any], id: str) -> Object:
        """Return a payment method."""
        p.read(raw, {"expand": p.list_of(p.string)})
        return self._backend.store.get("payment_method", id)

    def list_all(self, raw: Mapping[str, Any]) -> Object:
        """Return a page of a customer's payment methods."""
        values = p.read(raw, _LIST, required=["customer"])
        self._backend.store.get("customer", values["customer"], "customer")
        rows = (
            method
            for method in self._backend.store.of_kind("payment_method")
            if method["customer"] == values["customer"]
            and values.get("allow_redisplay") in (None, method["allow_redisplay"])
        )
        return page(rows, values, "/v1/payment_methods")

    def attach(self, raw: Mapping[str, Any], id: str) -> Object:
        """Attach a payment method to a customer; a test token creates one."""
        values = p.read(raw, _ATTACH, required=["customer"])
        customer = self._backend.store.get("customer", values["customer"], "customer")
        method = self._vault.resolve(id, "id")
        if method["customer"] not in (None, customer["id"]):
            raise bad_request(
                "The payment method you provided has already been attached to a customer.",
                code="payment_method_unexpected_state",
            )
        return self._vault.attach(method, customer)

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
            Route("POST", "/v1/payment_methods/{id}", self.update),
            Route("POST", "/v1/payment_methods/{id}/attach", self.attach),
            Route("POST", "/v1/payment_methods/{id}/detach", self.detach),
        ]
