"""What a shop sells: packages of credits and a monthly plan, and how their prices are found."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Self

from ..currencies import minor_digits
from ..models import MAX_CREDITS
from ..stripe_api.objects import StripeData, mapping_in, parse_count
from .steps import MANAGED_METADATA

CURRENCY = re.compile(r"[a-z]{3}")

MAX_AMOUNT = 99_999_999
"""Stripe's maximum, in the currency's minor unit: https://docs.stripe.com/currencies."""

_LOOKUP_KEY = "datalayer-stripe-"


@dataclass(frozen=True)
class Offer:
    """One price of the shop, as it should be.

    Attributes:
        lookup_key: By which the price is found: https://docs.stripe.com/products-prices/manage-prices.
        currency: Three lower-case letters.
        amount: In the currency's minor unit.
        credits: The credits of a package; None for the monthly plan.
    """

    lookup_key: str
    currency: str
    amount: int
    credits: int | None

    @classmethod
    def package(cls, currency: str, amount: int, credits: int) -> Self:
        """Return a package of credits."""
        return cls(f"{_LOOKUP_KEY}credits-{credits}", currency, amount, credits)

    @classmethod
    def plan(cls, currency: str, amount: int) -> Self:
        """Return the monthly plan."""
        return cls(f"{_LOOKUP_KEY}monthly", currency, amount, None)

    @property
    def text(self) -> str:
        """The offer in words."""
        return describe(self.amount, self.currency, self.credits)

    def matches(self, price: StripeData) -> bool:
        """Return whether a price, active or not, charges and gives what the offer says."""
        return (
            price.get("unit_amount") == self.amount
            and price.get("currency") == self.currency
            and _terms(price) == (("one_time", self.credits) if self.credits else ("monthly", None))
        )

    def params(self, product_id: str) -> dict[str, Any]:
        """Return the parameters that create the price.

        Args:
            product_id: The product, `prod_…`.
        """
        terms: dict[str, Any] = (
            {
                "transform_quantity": {"divide_by": self.credits, "round": "up"},
                "nickname": f"{self.credits} credits",
            }
            if self.credits
            else {"recurring": {"interval": "month"}}
        )
        return {
            "product": product_id,
            "currency": self.currency,
            "unit_amount": self.amount,
            "metadata": dict(MANAGED_METADATA),
            **terms,
            # Take the key from the price that had it: its amount cannot be changed.
            "lookup_key": self.lookup_key,
            "transfer_lookup_key": True,
        }


@dataclass(frozen=True)
class Offers:
    """All offers of a shop.

    Attributes:
        packages: The packages; empty to leave those of the account as they are.
        plan: The monthly plan; None to leave that of the account as it is.
    """

    packages: Sequence[Offer]
    plan: Offer | None


def describe(amount: int, currency: str, credits: int | None) -> str:
    """Return an offer in words: `50 credits for 5.00 USD`, `29.00 USD a month`."""
    digits = minor_digits(currency)
    money = f"{Decimal(amount).scaleb(-digits):.{digits}f} {currency.upper()}"
    return f"{money} a month" if credits is None else f"{credits:,} credits for {money}"


def describe_price(price: StripeData) -> str:
    """Return a price of Stripe in words."""
    kind, credits = _terms(price)
    amount = price.get("unit_amount")
    if amount is None or (kind == "one_time" and credits is None):
        return "neither a package nor a plan"
    text = describe(amount, str(price["currency"]), credits)
    return text if kind in ("one_time", "monthly") else text.replace("a month", "not monthly")


def sells_credits(price: StripeData) -> bool:
    """Return whether a price is that of a package."""
    kind, credits = _terms(price)
    return kind == "one_time" and credits is not None


def credits_of(price: StripeData) -> int | None:
    """Return the credits of a package's price; None for any other price."""
    return _terms(price)[1]


def is_monthly(price: StripeData) -> bool:
    """Return whether a price is that of a monthly plan."""
    return _terms(price)[0] == "monthly"


def _terms(price: StripeData) -> tuple[str, int | None]:
    """Return the kind of a price, and the credits that it sells if it is one-time."""
    if price.get("type") == "one_time":
        quantity = mapping_in(price, "transform_quantity").get("divide_by")
        metadata: Mapping[str, Any] = mapping_in(price, "metadata")
        return "one_time", quantity or parse_count(metadata.get("credits"))
    recurring = mapping_in(price, "recurring")
    monthly = recurring.get("interval") == "month" and recurring.get("interval_count") == 1
    return "monthly" if monthly else "recurring", None


def parse_amount(text: str, currency: str) -> int:
    """Return an amount such as `5.00` in the currency's minor unit.

    Raises:
        ValueError: It is not an amount of this currency. The message says why.
    """
    digits = minor_digits(currency)
    if not re.fullmatch(r"\d{1,8}(\.\d{1,3})?", text, re.ASCII):
        raise ValueError(f"{text!r} is not an amount such as 5.00")
    amount = Decimal(text).scaleb(digits)
    if amount != int(amount):
        raise ValueError(f"{text} has more decimals than {currency.upper()}, which has {digits}")
    if not 0 < amount <= MAX_AMOUNT:
        raise ValueError(f"{text} is not between 0 and what Stripe can charge")
    return int(amount)


def parse_package(text: str, currency: str) -> Offer:
    """Return the package of a text such as `5.00:50`: amount and credits.

    Raises:
        ValueError: It is not a package. The message says why.
    """
    amount, colon, credits = text.partition(":")
    if not colon or not re.fullmatch(r"\d{1,12}", credits, re.ASCII):
        raise ValueError(f"{text!r} is not an amount and credits such as 5.00:50")
    if not 1 <= int(credits) <= MAX_CREDITS:
        raise ValueError(f"{credits} is not between 1 and {MAX_CREDITS:,} credits")
    return Offer.package(currency, parse_amount(amount, currency), int(credits))
