"""New products and prices.

https://docs.stripe.com/api/products/object, https://docs.stripe.com/api/prices/object
"""

from .objects import Object


def product(product_id: str, name: str, now: int) -> Object:
    """Return a new active product."""
    return {
        "id": product_id,
        "object": "product",
        "active": True,
        "created": now,
        "default_price": None,
        "description": None,
        "images": [],
        "livemode": False,
        "marketing_features": [],
        "metadata": {},
        "name": name,
        "package_dimensions": None,
        "shippable": None,
        "statement_descriptor": None,
        "tax_code": None,
        "tax_details": None,
        "unit_label": None,
        "updated": now,
        "url": None,
    }


def price(price_id: str, product_id: str, currency: str, unit_amount: int, now: int) -> Object:
    """Return a new active one-time per-unit price."""
    return {
        "id": price_id,
        "object": "price",
        "active": True,
        "billing_scheme": "per_unit",
        "created": now,
        "currency": currency,
        "custom_unit_amount": None,
        "livemode": False,
        "lookup_key": None,
        "metadata": {},
        "nickname": None,
        "product": product_id,
        "recurring": None,
        "tax_behavior": "unspecified",
        "tiers_mode": None,
        "transform_quantity": None,
        "type": "one_time",
        "unit_amount": unit_amount,
        "unit_amount_decimal": str(unit_amount),
    }


def recurring(interval: str, interval_count: int) -> Object:
    """Return the `recurring` hash of a licensed price."""
    return {
        "interval": interval,
        "interval_count": interval_count,
        "meter": None,
        "usage_type": "licensed",
    }
