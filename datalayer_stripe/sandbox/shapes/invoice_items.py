"""New invoice items, and their lines on invoices.

https://docs.stripe.com/api/invoiceitems/object
https://docs.stripe.com/api/invoice-line-item/object
"""

import copy

from .billing import line_item
from .objects import Object


def invoice_item(item_id: str, customer_id: str, currency: str, amount: int, now: int) -> Object:
    """Return an invoice item that is on no invoice yet."""
    return {
        "id": item_id,
        "object": "invoiceitem",
        "amount": amount,
        "currency": currency,
        "customer": customer_id,
        "customer_account": None,
        "date": now,
        "description": None,
        "discountable": True,
        "discounts": [],
        "invoice": None,
        "livemode": False,
        "metadata": {},
        "parent": None,
        "period": {"end": now, "start": now},
        "pricing": None,
        "proration": False,
        "proration_details": {"discount_amounts": []},
        "quantity": 1,
        "quantity_decimal": "1",
        "tax_rates": [],
        "test_clock": None,
    }


def item_line(line_id: str, invoice: Object, item: Object) -> Object:
    """Return the invoice line of an invoice item."""
    parent = {
        "invoice_item_details": {
            "invoice_item": item["id"],
            "proration": False,
            "proration_details": {"credited_items": None},
            "subscription": None,
        },
        "subscription_item_details": None,
        "type": "invoice_item_details",
    }
    return {
        **line_item(line_id, invoice, item["amount"], item["description"], item["quantity"]),
        "discountable": item["discountable"],
        "metadata": dict(item["metadata"]),
        "parent": parent,
        "period": dict(item["period"]),
        "pricing": copy.deepcopy(item["pricing"]),
    }
