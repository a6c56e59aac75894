"""Products and prices.

https://docs.stripe.com/api/products, https://docs.stripe.com/api/prices
"""

from collections.abc import Mapping
from typing import Any

from ..api import params as p
from ..api.lists import LIST_FIELDS, page
from ..api.routes import Route
from ..engine.backend import Backend
from ..engine.errors import bad_request, invalid
from ..engine.store import merge_metadata
from ..shapes import catalog as shapes
from ..shapes.objects import Object

_PRODUCT_FIELDS: p.Fields = {
    "name": p.string,
    "active": p.boolean,
    "description": p.string,
    "metadata": p.metadata,
    "images": p.list_of(p.string),
    "default_price": p.string,
    "statement_descriptor": p.string,
    "unit_label": p.string,
    "url": p.string,
    "expand": p.list_of(p.string),
}
_PRICE_UPDATE: p.Fields = {
    "active": p.boolean,
    "nickname": p.string,
    "metadata": p.metadata,
    "lookup_key": p.string,
    "transfer_lookup_key": p.boolean,
    "tax_behavior": p.choice("exclusive", "inclusive", "unspecified"),
    "expand": p.list_of(p.string),
}
_PRICE_CREATE: p.Fields = {
    **_PRICE_UPDATE,
    "product": p.string,
    "currency": p.currency,
    "unit_amount": p.amount,
    "billing_scheme": p.choice("per_unit"),
    "recurring": p.hash_of(
        {
            "interval": p.choice("day", "week", "month", "year"),
            "interval_count": p.integer,
            "usage_type": p.choice("licensed"),
        },
        required=["interval"],
    ),
    "transform_quantity": p.hash_of(
        {"divide_by": p.integer, "round": p.choice("up", "down")}, required=["divide_by", "round"]
    ),
}
_PRICE_LIST: p.Fields = {
    **LIST_FIELDS,
    "active": p.boolean,
    "currency": p.currency,
    "product": p.string,
    "type": p.choice("one_time", "recurring"),
    "lookup_keys": p.list_of(p.string),
    "recurring": p.hash_of({"interval": p.choice("day", "week", "month", "year")}),
}


class Products:
    """The API's operations on products."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend

    def create(self, raw: Mapping[str, Any]) -> Object:
        """Create a product."""
        fields = {**_PRODUCT_FIELDS, "id": p.string}
        values = p.read(raw, fields, required=["name"])
        product_id = values.get("id") or self._backend.ids.new("prod")
        if self._backend.store.find(product_id):
            raise bad_request("Product already exists.", code="resource_already_exists", param="id")
        product = shapes.product(product_id, values["name"], self._backend.now())
        product.update(_changes(product, values))
        return self._backend.create(product, "product.created")

    def update(self, raw: Mapping[str, Any], id: str) -> Object:
        """Update a product."""
        values = p.read(raw, _PRODUCT_FIELDS)
        product = self._backend.store.get("product", id)
        changes = _changes(product, values)
        if values.get("default_price"):
            self._backend.store.get("price", values["default_price"], "default_price")
        changes["updated"] = self._backend.now()
        return self._backend.update(product, changes, "product.updated")

    def retrieve(self, raw: Mapping[str, Any], id: str) -> Object:
        """Return a product."""
        p.read(raw, {"expand": p.list_of(p.string)})
        return self._backend.store.get("product", id)

    def list_all(self, raw: Mapping[str, Any]) -> Object:
        """Return a page of products."""
        values = p.read(raw, {**LIST_FIELDS, "active": p.boolean, "ids": p.list_of(p.string)})
        rows = (
            product
            for product in self._backend.store.of_kind("product")
            if _equal(product, values, "active")
            and ("ids" not in values or product["id"] in values["ids"])
        )
        return page(rows, values, "/v1/products")

    def routes(self) -> list[Route]:
        """Return the routes of products."""
        return [
            Route("POST", "/v1/products", self.create),
            Route("GET", "/v1/products", self.list_all),
            Route("GET", "/v1/products/{id}", self.retrieve),
            Route("POST", "/v1/products/{id}", self.update),
        ]


class Prices:
    """The API's operations on prices: per unit, one-time or recurring."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend

    def create(self, raw: Mapping[str, Any]) -> Object:
        """Create a price."""
        values = p.read(raw, _PRICE_CREATE, required=["currency", "product", "unit_amount"])
        recurring = values.get("recurring")
        transform = values.get("transform_quantity")
        if transform and (transform["divide_by"] is None or transform["divide_by"] < 1):
            raise invalid(
                "This value must be greater than or equal to 1.",
                code="parameter_invalid_integer",
                param="transform_quantity[divide_by]",
            )
        product = self._backend.store.get("product", values["product"], "product")
        self._claim_lookup_key(values)
        price = shapes.price(
            self._backend.ids.new("price"),
            product["id"],
            values["currency"],
            values["unit_amount"],
            self._backend.now(),
        )
        if recurring:
            count = recurring.get("interval_count") or 1
            price["recurring"] = shapes.recurring(recurring["interval"], count)
            price["type"] = "recurring"
        price["transform_quantity"] = transform
        price.update(_changes(price, _only(values, _PRICE_UPDATE)))
        return self._backend.create(price, "price.created")

    def update(self, raw: Mapping[str, Any], id: str) -> Object:
        """Update a price; its amount and currency cannot be changed."""
        values = p.read(raw, _PRICE_UPDATE)
        price = self._backend.store.get("price", id)
        product = self._backend.store.find(price["product"]) or {}
        if values.get("active") is False and product.get("default_price") == id:
            raise bad_request(
                "This price cannot be archived because it is the default price of its product."
            )
        self._claim_lookup_key(values, price)
        self._backend.update(price, _changes(price, values), "price.updated")
        # A subscription item contains a copy of its price, which Stripe keeps up to date.
        for subscription in self._backend.store.of_kind("subscription"):
            for item in subscription["items"]["data"]:
                if item["price"]["id"] == id:
                    item["price"] = dict(price)
        return price

    def retrieve(self, raw: Mapping[str, Any], id: str) -> Object:
        """Return a price."""
        p.read(raw, {"expand": p.list_of(p.string)})
        return self._backend.store.get("price", id)

    def list_all(self, raw: Mapping[str, Any]) -> Object:
        """Return a page of prices."""
        values = p.read(raw, _PRICE_LIST)
        if values.get("product"):
            self._backend.store.get("product", values["product"], "product")
        interval = (values.get("recurring") or {}).get("interval")
        rows = (
            price
            for price in self._backend.store.of_kind("price")
            if all(_equal(price, values, n) for n in ("active", "currency", "product", "type"))
            and ("lookup_keys" not in values or price["lookup_key"] in values["lookup_keys"])
            and (not interval or (price["recurring"] or {}).get("interval") == interval)
        )
        return page(rows, values, "/v1/prices")

    def routes(self) -> list[Route]:
        """Return the routes of prices."""
        return [
            Route("POST", "/v1/prices", self.create),
            Route("GET", "/v1/prices", self.list_all),
            Route("GET", "/v1/prices/{id}", self.retrieve),
            Route("POST", "/v1/prices/{id}", self.update),
        ]

    def _claim_lookup_key(self, values: dict[str, Any], price: Object | None = None) -> None:
        key = values.get("lookup_key")
        transfer = values.pop("transfer_lookup_key", False)
        for other in list(self._backend.store.of_kind("price")) if key else []:
            if other["lookup_key"] != key or other is price:
                continue
            if not transfer:
                raise bad_request(
                    f"A price (`{other['id']}`) already uses that lookup key.", param="lookup_key"
                )
            self._backend.update(other, {"lookup_key": None}, "price.updated")


def _changes(obj: Object, values: Mapping[str, Any]) -> dict[str, Any]:
    changes = {name: value for name, value in values.items() if name != "expand"}
    if "metadata" in changes:
        changes["metadata"] = merge_metadata(obj["metadata"], changes["metadata"])
    return changes


def _only(values: Mapping[str, Any], fields: p.Fields) -> dict[str, Any]:
    return {name: value for name, value in values.items() if name in fields}


def _equal(obj: Object, values: Mapping[str, Any], name: str) -> bool:
    return name not in values or obj[name] == values[name]
