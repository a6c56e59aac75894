"""Lines of an invoice: the cost of a subscription's items for a period, and invoice items."""

from collections.abc import Iterable
from typing import Any

from ...currencies import major_units, minor_digits
from ..shapes import billing as shapes
from ..shapes.invoice_items import item_line
from ..shapes.objects import Object
from .backend import Backend


def cost(price: Object, quantity: int) -> int:
    """Return the cost of a quantity at a price, in the currency's minor unit."""
    transform = price["transform_quantity"]
    if transform:
        packages, remainder = divmod(quantity, transform["divide_by"])
        quantity = packages + (1 if remainder and transform["round"] == "up" else 0)
    return int(price["unit_amount"] or 0) * quantity


def add_line(backend: Backend, invoice: Object, item: Object, *, free: bool) -> None:
    """Add a subscription item to a draft invoice, and its amount to the totals.

    Args:
        backend: the sandbox's state.
        invoice: the draft invoice.
        item: the subscription item.
        free: whether the item costs nothing, as during a trial.
    """
    amount = 0 if free else cost(item["price"], item["quantity"])
    description = _describe(backend, item, free=free)
    line_id = backend.ids.new("il")
    line = shapes.subscription_line(line_id, invoice, item, amount, description)
    invoice["lines"]["data"].append(line)
    invoice.update(totals(invoice["lines"]["data"]))


def with_items(backend: Backend, invoice: Object, items: Iterable[Object]) -> dict[str, Any]:
    """Return the changes to a draft invoice that has exactly the given invoice items as lines.

    Args:
        backend: the sandbox's state.
        invoice: the draft invoice; it is not modified.
        items: the invoice items; other lines of the invoice are kept.
    """
    lines = [line for line in invoice["lines"]["data"] if not _is_of_item(line)]
    lines += [item_line(backend.ids.new("il"), invoice, item) for item in items]
    return {"lines": {**invoice["lines"], "data": lines}, **totals(lines)}


def totals(lines: Iterable[Object]) -> dict[str, int]:
    """Return the totals of an invoice with the given lines. An invoice never owes less than 0."""
    total = sum(line["amount"] for line in lines)
    due = max(total, 0)
    summed = ("subtotal", "subtotal_excluding_tax", "total", "total_excluding_tax")
    return {"amount_due": due, "amount_remaining": due, **dict.fromkeys(summed, total)}


def _is_of_item(line: Object) -> bool:
    return bool(line["parent"]["invoice_item_details"])


def _describe(backend: Backend, item: Object, *, free: bool) -> str:
    price = item["price"]
    product = backend.store.find(price["product"])
    name = product["name"] if product else price["product"]
    if free:
        return f"Trial period for {name}"
    interval, count = price["recurring"]["interval"], price["recurring"]["interval_count"]
    every = interval if count == 1 else f"{count} {interval}s"
    return f"{item['quantity']} × {name} (at {_money(price)} / {every})"  # Stripe's text


def _money(price: Object) -> str:
    code, amount = price["currency"], price["unit_amount"] or 0
    text = f"{major_units(amount, code):.{minor_digits(code)}f}"
    return f"${text}" if code == "usd" else f"{text} {code.upper()}"
