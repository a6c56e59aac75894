"""Invoice items: what a customer owes besides a subscription.

https://docs.stripe.com/api/invoiceitems
"""

from collections.abc import Iterator, Mapping
from typing import Any

from ..api import params as p
from ..api.documented import accept, changes_of
from ..api.lists import LIST_FIELDS, page
from ..api.routes import Route
from ..engine.backend import Backend
from ..engine.errors import bad_request, missing_param
from ..engine.invoice_lines import cost, with_items
from ..engine.store import Store
from ..shapes import invoice_items as shapes
from ..shapes.objects import Object

_CREATE = accept(
    "POST /v1/invoiceitems",
    {
        "amount": p.integer,
        "currency": p.currency,
        "customer": p.string,
        "invoice": p.string,
        "pricing": p.hash_of({"price": p.string}),
        "quantity": p.integer,
        "unit_amount_decimal": p.number,
    },
)
_UPDATE = accept("POST /v1/invoiceitems/{id}", {"amount": p.integer, "quantity": p.integer})
_LIST = accept(
    "GET /v1/invoiceitems",
    {**LIST_FIELDS, "customer": p.string, "invoice": p.string, "pending": p.boolean},
)


def items_of(store: Store, invoice_id: str) -> Iterator[Object]:
    """Yield the invoice items of an invoice, newest first."""
    return (item for item in store.of_kind("invoiceitem") if item["invoice"] == invoice_id)


def pending_items(store: Store, customer_id: str, currency: str | None) -> Iterator[Object]:
    """Yield the items of a customer that are on no invoice yet, newest first.

    Args:
        store: the objects of the sandbox.
        customer_id: `cus_…`.
        currency: only items in this currency; None: all.
    """
    for item in store.of_kind("invoiceitem"):
        pending = item["customer"] == customer_id and item["invoice"] is None
        if pending and currency in (None, item["currency"]):
            yield item


class InvoiceItems:
    """The API's operations on invoice items."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend

    def create(self, raw: Mapping[str, Any]) -> Object:
        """Create an invoice item: pending, or on the draft invoice that `invoice` names."""
        values = p.read(raw, _CREATE, required=["customer"])
        store = self._backend.store
        customer = store.get("customer", values["customer"], "customer")
        price = self._price(values)
        invoice = None
        if values.get("invoice"):
            invoice = self._draft(values["invoice"], "invoice")
        currency = price["currency"] if price else values.get("currency", "usd")
        item_id, now = self._backend.ids.new("ii"), self._backend.now()
        item = shapes.invoice_item(item_id, customer["id"], currency, 0, now)
        item.update(self._changes(item, values, price))
        if not values.keys() & {"amount", "pricing", "unit_amount_decimal"}:
            raise missing_param("amount")
        self._backend.create(item, "invoiceitem.created")
        if invoice is not None:
            self._add_to(invoice)
        return item

    def update(self, raw: Mapping[str, Any], id: str) -> Object:
        """Update an invoice item that is pending or on a draft invoice."""
        values = p.read(raw, _UPDATE)
        item = self._backend.store.get("invoiceitem", id)
        invoice = self._draft(item["invoice"]) if item["invoice"] else None
        details = (item["pricing"] or {}).get("price_details") or {}
        price = self._backend.store.find(details.get("price"))
        self._backend.update(item, self._changes(item, values, price))
        if invoice is not None:
            self._add_to(invoice)
        return item

    def retrieve(self, raw: Mapping[str, Any], id: str) -> Object:
        """Return an invoice item."""
        p.read(raw, {"expand": p.list_of(p.string)})
        return self._backend.store.get("invoiceitem", id)

    def delete(self, raw: Mapping[str, Any], id: str) -> Object:
        """Delete an invoice item that is pending or on a draft invoice."""
        p.read(raw, {})
        item = self._backend.store.get("invoiceitem", id)
        invoice = self._draft(item["invoice"]) if item["invoice"] else None
        self._backend.store.remove(item)
        if invoice is not None:
            self._add_to(invoice)
        self._backend.emit("invoiceitem.deleted", item)
        return {"id": id, "object": "invoiceitem", "deleted": True}

    def list_all(self, raw: Mapping[str, Any]) -> Object:
        """Return a page of invoice items."""
        values = p.read(raw, _LIST)
        equal = [name for name in ("customer", "invoice") if name in values]
        rows = (
            item
            for item in self._backend.store.of_kind("invoiceitem")
            if all(item[name] == values[name] for name in equal)
            and ("pending" not in values or (item["invoice"] is None) == values["pending"])
        )
        # An item's time of creation is its `date`.
        return page(rows, values, "/v1/invoiceitems", created="date")

    def routes(self) -> list[Route]:
        """Return the routes of invoice items."""
        path = "/v1/invoiceitems"
        return [
            Route("POST", path, self.create),
            Route("GET", path, self.list_all),
            Route("GET", path + "/{id}", self.retrieve),
            Route("POST", path + "/{id}", self.update),
            Route("DELETE", path + "/{id}", self.delete),
        ]

    def _price(self, values: Mapping[str, Any]) -> Object | None:
        price_id = (values.get("pricing") or {}).get("price")
        if not price_id:
            return None
        price = self._backend.store.get("price", price_id, "pricing[price]")
        if price["type"] != "one_time":
            raise bad_request(
                "The price specified is set to `type=recurring` but this field only accepts prices "
                "with `type=one_time`.",
                param="pricing[price]",
            )
        return price

    def _changes(
        self, item: Object, values: Mapping[str, Any], price: Object | None
    ) -> dict[str, Any]:
        """Return the changes that parameters make to an item, its amount included."""
        changes = changes_of(item, {n: v for n, v in values.items() if n != "pricing"})
        quantity = values.get("quantity") or item["quantity"]
        if price is not None:
            changes["amount"] = cost(price, quantity)
            changes["pricing"] = {
                "price_details": {"price": price["id"], "product": price["product"]},
                "type": "price_details",
                "unit_amount_decimal": price["unit_amount_decimal"],
            }
        elif values.get("unit_amount_decimal") is not None:
            changes["amount"] = round(values["unit_amount_decimal"] * quantity)
        return {**changes, "quantity": quantity, "quantity_decimal": str(quantity)}

    def _draft(self, invoice_id: str, param: str = "id") -> Object:
        invoice = self._backend.store.get("invoice", invoice_id, param)
        if invoice["status"] != "draft":
            raise bad_request(
                "The invoice is no longer editable: only the items of a draft invoice can change.",
                code="invoice_not_editable",
            )
        return invoice

    def _add_to(self, invoice: Object) -> None:
        """Make the present invoice items of a draft invoice its lines."""
        items = list(items_of(self._backend.store, invoice["id"]))
        changes = with_items(self._backend, invoice, reversed(items))
        self._backend.update(invoice, changes, "invoice.updated")
