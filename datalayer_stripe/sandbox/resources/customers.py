"""Customers.

https://docs.stripe.com/api/customers
"""

from collections.abc import Mapping
from typing import Any

from ..api import params as p
from ..api.documented import accept, changes_of
from ..api.lists import LIST_FIELDS, page
from ..api.routes import Route
from ..api.search import NUMERIC, STRING, SearchFields, search
from ..engine.backend import Backend
from ..engine.card_vault import CardVault
from ..engine.errors import no_such
from ..shapes import customers as shapes
from ..shapes.objects import Object
from .payment_methods import PaymentMethods

_EDIT: p.Fields = {
    "invoice_settings": p.hash_of({"default_payment_method": p.string}),
    "tax_exempt": p.choice("none", "exempt", "reverse"),
}
_CREATE = accept("POST /v1/customers", {**_EDIT, "payment_method": p.string})
_UPDATE = accept("POST /v1/customers/{id}", _EDIT)
_SEARCH: SearchFields = {"created": NUMERIC, "email": STRING, "name": STRING, "phone": STRING}
_LIST = accept("GET /v1/customers", {**LIST_FIELDS, "email": p.string})


class Customers:
    """The API's operations on customers.

    Args:
        backend: the sandbox's state.
        vault: the payment methods.
        payment_methods: lists the payment methods of a customer.
    """

    def __init__(self, backend: Backend, vault: CardVault, payment_methods: PaymentMethods) -> None:
        self._backend = backend
        self._vault = vault
        self._payment_methods = payment_methods

    def create(self, raw: Mapping[str, Any]) -> Object:
        """Create a customer, and attach the `payment_method` if there is one.

        The default payment method of invoices may be the same test token, such as `pm_card_visa`.
        """
        values = p.read(raw, _CREATE)
        token = values.get("payment_method")
        method = self._vault.resolve(token) if token else None
        ids = self._backend.ids
        customer = shapes.customer(ids.new("cus"), ids.invoice_prefix(), self._backend.now())
        settings = values.get("invoice_settings") or {}
        if method:
            self._vault.attach(method, customer)
            if settings.get("default_payment_method") == token:
                settings["default_payment_method"] = method["id"]
        customer.update(self._changes(customer, values))
        self._backend.create(customer, "customer.created")
        return customer

    def update(self, raw: Mapping[str, Any], id: str) -> Object:
        """Update a customer."""
        values = p.read(raw, _UPDATE)
        customer = self._backend.store.get("customer", id)
        changes = self._changes(customer, values)
        return self._backend.update(customer, changes, "customer.updated")

    def retrieve(self, raw: Mapping[str, Any], id: str) -> Object:
        """Return a customer, or the `deleted` object of a deleted customer."""
        p.read(raw, {"expand": p.list_of(p.string)})
        found = self._backend.store.find(id)
        if found is None or found["object"] != "customer":
            raise no_such("customer", id)
        return found

    def delete(self, raw: Mapping[str, Any], id: str) -> Object:
        """Delete a customer and cancel its subscriptions."""
        p.read(raw, {})
        customer = self._backend.store.get("customer", id)
        now = self._backend.now()
        for subscription in self._backend.store.of_kind("subscription"):
            if subscription["customer"] == id and subscription["ended_at"] is None:
                ended = {"status": "canceled", "canceled_at": now, "ended_at": now}
                self._backend.update(subscription, ended)
                self._backend.emit("customer.subscription.deleted", subscription)
        self._backend.emit("customer.deleted", customer)
        return self._backend.store.put({"id": id, "object": "customer", "deleted": True})

    def list_all(self, raw: Mapping[str, Any]) -> Object:
        """Return a page of customers."""
        values = p.read(raw, _LIST)
        rows = (
            customer
            for customer in self._backend.store.of_kind("customer")
            if not customer.get("deleted")
            and ("email" not in values or customer["email"] == values["email"])
        )
        return page(rows, values, "/v1/customers")

    def search(self, raw: Mapping[str, Any]) -> Object:
        """Return a page of the customers that match a query."""
        customers = self._backend.store.of_kind("customer")
        existing = (customer for customer in customers if not customer.get("deleted"))
        return search(existing, raw, _SEARCH, "/v1/customers/search")

    def payment_methods(self, raw: Mapping[str, Any], id: str) -> Object:
        """Return a page of a customer's payment methods."""
        self._backend.store.get("customer", id)
        listed = self._payment_methods.list_all({**raw, "customer": id})
        return {**listed, "url": f"/v1/customers/{id}/payment_methods"}

    def routes(self) -> list[Route]:
        """Return the routes of customers."""
        return [
            Route("POST", "/v1/customers", self.create),
            Route("GET", "/v1/customers", self.list_all),
            Route("GET", "/v1/customers/search", self.search),
            Route("GET", "/v1/customers/{id}", self.retrieve),
            Route("POST", "/v1/customers/{id}", self.update),
            Route("DELETE", "/v1/customers/{id}", self.delete),
            Route("GET", "/v1/customers/{id}/payment_methods", self.payment_methods),
        ]

    def _changes(self, customer: Object, values: Mapping[str, Any]) -> dict[str, Any]:
        method_id = (values.get("invoice_settings") or {}).get("default_payment_method")
        if method_id:
            param = "invoice_settings[default_payment_method]"
            self._vault.of_customer(method_id, customer["id"], param)
        return changes_of(customer, values)
