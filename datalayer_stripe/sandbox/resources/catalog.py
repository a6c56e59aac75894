"""Products and prices.

https://docs.stripe.com/api/products, https://docs.stripe.com/api/prices
"""

from collections.abc import Mapping
from typing import Any

from ..api import params as p
from ..api.documented import accept, changes_of
from ..api.lists import LIST_FIELDS, page
from ..api.routes import Route
from ..api.search import STRING, TOKEN, SearchFields, search
from ..engine.backend import Backend
from ..engine.errors import bad_request, invalid, missing_param
from ..shapes import catalog as shapes
from ..shapes.objects import Object

_INTERVAL = p.choice("day", "week", "month", "year")
_RECURRING = p.hash_of(
    {
        "interval": _INTERVAL,
        "interval_count": p.integer,
        "usage_type": p.choice("licensed"),
    },
    required=["interval"],
)
_PRODUCT_CREATE = accept(
    "POST /v1/products",
    {
        "default_price_data": p.hash_of(
            {"currency": p.currency, "unit_amount": p.amount, "recurring": _RECURRING},
            required=["currency", "unit_amount"],
        )
    },
)
_PRODUCT_UPDATE = accept("POST /v1/products/{id}", {"default_price": p.string})
_PRODUCT_LIST = accept("GET /v1/products", LIST_FIELDS)
_TAX_BEHAVIOR = p.choice("exclusive", "inclusive", "unspecified")
_PRICE_UPDATE = accept("POST /v1/prices/{id}", {"tax_behavior": _TAX_BEHAVIOR})
_PRICE_CREATE = accept(
    "POST /v1/prices",
    {
        "product": p.string,
        "product_data": p.hash_of({}, required=["name"]),
        "currency": p.currency,
        "unit_amount": p.amount,
        "billing_scheme": p.choice("per_unit"),
        "recurring": _RECURRING,
        "tax_behavior": _TAX_BEHAVIOR,
        "transform_quantity": p.hash_of(
            {"divide_by": p.integer, "round": p.choice("up", "down")},
            required=["divide_by", "round"],
        ),
    },
)
# Parameters of a price that `Prices.create` sets by itself.
_BUILT = ("product", "recurring", "transform_quantity", "unit_amount_decimal")
_PRICE_LIST = accept(
    "GET /v1/prices",
    {
        **LIST_FIELDS,
        "currency": p.currency,
        "type": p.choice("one_time", "recurring"),
        "recurring": p.hash_of({"interval": _INTERVAL}),
    },
)
_PRODUCT_SEARCH: SearchFields = {
    "active": TOKEN,
    "description": STRING,
    "name": STRING,
    "shippable": TOKEN,
    "url": STRING,
}
_PRICE_SEARCH: SearchFields = {
    "active": TOKEN,
    "currency": TOKEN,
    "lookup_key": STRING,
    "product": STRING,
    "type": TOKEN,
}


class Products:
    """The API's operations on products."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend

    def create(self, raw: Mapping[str, Any]) -> Object:
        """Create a product, and its default price if there is `default_price_data`."""
        values = p.read(raw, _PRODUCT_CREATE, required=["name"])
        product_id = values.get("id") or self._backend.ids.new("prod")
        if self._backend.store.find(product_id):
            raise bad_request("Product already exists.", code="resource_already_exists", param="id")
        product = shapes.product(product_id, values["name"], self._backend.now())
        product.update(changes_of(product, values))
        self._backend.create(product, "product.created")
        if values.get("default_price_data"):
            data = {**raw["default_price_data"], "product": product_id}
            product["default_price"] = Prices(self._backend).create(data)["id"]
        return product

    def update(self, raw: Mapping[str, Any], id: str) -> Object:
        """Update a product."""
        values = p.read(raw, _PRODUCT_UPDATE)
        product = self._backend.store.get("product", id)
        changes = changes_of(product, values)
        if values.get("default_price"):
            self._backend.store.get("price", values["default_price"], "default_price")
        changes["updated"] = self._backend.now()
        return self._backend.update(product, changes, "product.updated")

    def retrieve(self, raw: Mapping[str, Any], id: str) -> Object:
        """Return a product."""
        p.read(raw, {"expand": p.list_of(p.string)})
        return self._backend.store.get("product", id)

    def delete(self, raw: Mapping[str, Any], id: str) -> Object:
        """Delete a product that has no prices."""
        p.read(raw, {})
        product = self._backend.store.get("product", id)
        if any(price["product"] == id for price in self._backend.store.of_kind("price")):
            raise bad_request(
                "This product cannot be deleted because it has one or more user-created prices."
            )
        self._backend.store.remove(product)
        self._backend.emit("product.deleted", product)
        return {"id": id, "object": "product", "deleted": True}

    def list_all(self, raw: Mapping[str, Any]) -> Object:
        """Return a page of products."""
        values = p.read(raw, _PRODUCT_LIST)
        rows = (
            product
            for product in self._backend.store.of_kind("product")
            if all(_equal(product, values, n) for n in ("active", "shippable", "url"))
            and ("ids" not in values or product["id"] in values["ids"])
        )
        return page(rows, values, "/v1/products")

    def search(self, raw: Mapping[str, Any]) -> Object:
        """Return a page of the products that match a query."""
        products = self._backend.store.of_kind("product")
        return search(products, raw, _PRODUCT_SEARCH, "/v1/products/search")

    def routes(self) -> list[Route]:
        """Return the routes of products."""
        return [
            Route("POST", "/v1/products", self.create),
            Route("GET", "/v1/products", self.list_all),
            Route("GET", "/v1/products/search", self.search),
            Route("GET", "/v1/products/{id}", self.retrieve),
            Route("POST", "/v1/products/{id}", self.update),
            Route("DELETE", "/v1/products/{id}", self.delete),
        ]


class Prices:
    """The API's operations on prices: per unit, one-time or recurring."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend

    def create(self, raw: Mapping[str, Any]) -> Object:
        """Create a price of an existing product, or of a new one with `product_data`."""
        values = p.read(raw, _PRICE_CREATE, required=["currency", "unit_amount"])
        p.check_exclusive(values, "product", "product_data")
        data = values.get("product_data")
        if not data and not values.get("product"):
            raise missing_param("product")
        recurring = values.get("recurring")
        transform = values.get("transform_quantity")
        if transform and (transform["divide_by"] is None or transform["divide_by"] < 1):
            raise invalid(
                "This value must be greater than or equal to 1.",
                code="parameter_invalid_integer",
                param="transform_quantity[divide_by]",
            )
        if not data:
            self._backend.store.get("product", values["product"], "product")
        self._claim_lookup_key(values)
        if data:
            values["product"] = Products(self._backend).create(raw["product_data"])["id"]
        price = shapes.price(
            self._backend.ids.new("price"),
            values["product"],
            values["currency"],
            values["unit_amount"],
            self._backend.now(),
        )
        if recurring:
            count = recurring.get("interval_count") or 1
            price["recurring"] = shapes.recurring(recurring["interval"], count)
            price["type"] = "recurring"
        price["transform_quantity"] = transform
        price.update(changes_of(price, {n: v for n, v in values.items() if n not in _BUILT}))
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
        self._backend.update(price, changes_of(price, values), "price.updated")
        # A subscription item contains a copy of its price, which Stripe keeps up to date.
        for subscription in self._backend.store.of_kind("subscription"):
            for item in subscription["items"]["data"]:
                if item["price"]["id"] == id:
                    item["price"] = dict(price)
        return price

    def delete(self, price: Object) -> None:
        """Delete a price that no subscription uses, which Stripe allows in its dashboard only.

        Raises:
            StripeError: a subscription uses the price.
        """
        for subscription in self._backend.store.of_kind("subscription"):
            if any(item["price"]["id"] == price["id"] for item in subscription["items"]["data"]):
                raise bad_request(f"Price {price['id']} cannot be deleted: it has been used.")
        for product in self._backend.store.of_kind("product"):
            if product["default_price"] == price["id"]:
                self._backend.update(product, {"default_price": None}, "product.updated")
        self._backend.store.remove(price)
        self._backend.emit("price.deleted", price)

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

    def search(self, raw: Mapping[str, Any]) -> Object:
        """Return a page of the prices that match a query."""
        prices = self._backend.store.of_kind("price")
        return search(prices, raw, _PRICE_SEARCH, "/v1/prices/search")

    def routes(self) -> list[Route]:
        """Return the routes of prices."""
        return [
            Route("POST", "/v1/prices", self.create),
            Route("GET", "/v1/prices", self.list_all),
            Route("GET", "/v1/prices/search", self.search),
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


def _equal(obj: Object, values: Mapping[str, Any], name: str) -> bool:
    return name not in values or obj[name] == values[name]
