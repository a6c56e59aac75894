"""Charges.

https://docs.stripe.com/api/charges
"""

from collections.abc import Mapping
from typing import Any

from ..api import params as p
from ..api.documented import accept
from ..api.lists import LIST_FIELDS, page
from ..api.routes import Route
from ..api.search import NUMERIC, TOKEN, SearchFields, search
from ..engine.backend import Backend
from ..shapes.objects import Object

_LIST = accept("GET /v1/charges", {**LIST_FIELDS, "customer": p.string, "payment_intent": p.string})
_CARD = "payment_method_details.card"
_SEARCH: SearchFields = {
    "amount": NUMERIC,
    "billing_details.address.postal_code": TOKEN,
    "created": NUMERIC,
    "currency": TOKEN,
    "customer": TOKEN,
    "disputed": TOKEN,
    "refunded": TOKEN,
    "status": TOKEN,
    **{
        f"{_CARD}.{name}": TOKEN
        for name in ("brand", "exp_month", "exp_year", "fingerprint", "last4")
    },
}


class Charges:
    """The API's operations on charges, which PaymentIntents create."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend

    def retrieve(self, raw: Mapping[str, Any], id: str) -> Object:
        """Return a charge."""
        p.read(raw, {"expand": p.list_of(p.string)})
        return self._backend.store.get("charge", id)

    def list_all(self, raw: Mapping[str, Any]) -> Object:
        """Return a page of charges."""
        values = p.read(raw, _LIST)
        rows = (
            charge
            for charge in self._backend.store.of_kind("charge")
            if all(
                name not in values or charge[name] == values[name]
                for name in ("customer", "payment_intent", "transfer_group")
            )
        )
        return page(rows, values, "/v1/charges")

    def search(self, raw: Mapping[str, Any]) -> Object:
        """Return a page of the charges that match a query."""
        charges = self._backend.store.of_kind("charge")
        return search(charges, raw, _SEARCH, "/v1/charges/search")

    def routes(self) -> list[Route]:
        """Return the routes of charges."""
        return [
            Route("GET", "/v1/charges", self.list_all),
            Route("GET", "/v1/charges/search", self.search),
            Route("GET", "/v1/charges/{id}", self.retrieve),
        ]
