"""Lines of an invoice: the cost of a subscription's items for a period."""

from ...currencies import major_units, minor_digits
from ..shapes import billing as shapes
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
    """Add a subscription item to a draft invoice: its line, and its amount to the totals.

    Args:
        backend: the sandbox's state.
        invoice: the draft invoice.
        item: the subscription item.
        free: whether the item costs nothing, as during a trial.
    """
    amount = 0 if free else cost(item["price"], item["quantity"])
    description = _describe(backend, item, free=free)
    line = shapes.line_item(backend.ids.new("il"), invoice, item, amount, description)
    invoice["lines"]["data"].append(line)
    for total in ("amount_due", "amount_remaining", "subtotal", "subtotal_excluding_tax"):
        invoice[total] += amount
    for total in ("total", "total_excluding_tax"):
        invoice[total] += amount


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
