"""Formatting of amounts, dates and cards for messages and pages."""

from datetime import UTC, datetime

from ...currencies import major_units, minor_digits
from ..shapes.objects import Object

_SYMBOLS = {"eur": "€", "gbp": "£", "usd": "$"}
_BRANDS = {"amex": "American Express", "unknown": "Card"}


def money(amount: int, currency: str) -> str:
    """Format an amount, given in the currency's minor unit, as `$5.00`."""
    figure = f"{major_units(amount, currency):,.{minor_digits(currency)}f}"
    symbol = _SYMBOLS.get(currency)
    return f"{symbol}{figure}" if symbol else f"{figure} {currency.upper()}"


def date(created: int) -> str:
    """Format epoch seconds as a UTC date: `5 Mar 2026`."""
    day = datetime.fromtimestamp(created, UTC)
    return f"{day.day} {day:%b %Y}"


def card_name(card: Object) -> str:
    """Format a card as `Visa •••• 4242`."""
    brand = str(card["brand"])
    return f"{_BRANDS.get(brand, brand.capitalize())} •••• {card['last4']}"
