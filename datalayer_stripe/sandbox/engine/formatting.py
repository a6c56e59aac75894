"""How amounts, dates and cards are written on the sandbox's pages."""

from datetime import UTC, datetime

from ...currencies import major_units, minor_digits
from ..shapes.objects import Object

_SYMBOLS = {"eur": "€", "gbp": "£", "usd": "$"}
_BRANDS = {"amex": "American Express", "unknown": "Card"}


def money(amount: int, currency: str) -> str:
    """Write an amount in the currency's minor unit: `$5.00`."""
    figure = f"{major_units(amount, currency):,.{minor_digits(currency)}f}"
    symbol = _SYMBOLS.get(currency)
    return f"{symbol}{figure}" if symbol else f"{figure} {currency.upper()}"


def date(created: int) -> str:
    """Write epoch seconds as a day: `5 Mar 2026`."""
    moment = datetime.fromtimestamp(created, UTC)
    return f"{moment.day} {moment:%b %Y}"


def card_name(card: Object) -> str:
    """Write a card: `Visa •••• 4242`."""
    brand = str(card["brand"])
    return f"{_BRANDS.get(brand, brand.capitalize())} •••• {card['last4']}"
