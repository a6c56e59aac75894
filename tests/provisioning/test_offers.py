"""Amounts and packages of the command line, and how prices are compared with them."""

import re

import pytest

from datalayer_stripe.provisioning.offers import (
    Offer,
    describe,
    describe_price,
    parse_amount,
    parse_package,
)


@pytest.mark.parametrize(
    ("text", "currency", "amount"),
    [
        ("5.00", "usd", 500),
        ("5", "usd", 500),
        ("0.5", "eur", 50),
        ("500", "jpy", 500),
        ("1.250", "kwd", 1250),
        ("999999.99", "usd", 99_999_999),
    ],
)
def test_amount_is_read_in_the_minor_unit(text: str, currency: str, amount: int) -> None:
    assert parse_amount(text, currency) == amount


@pytest.mark.parametrize(
    ("text", "currency", "problem"),
    [
        ("5,00", "usd", "is not an amount such as 5.00"),
        ("-5", "usd", "is not an amount"),
        ("1e3", "usd", "is not an amount"),
        ("\u0665", "usd", "is not an amount"),
        ("5.001", "usd", "has more decimals than USD, which has 2"),
        ("5.5", "jpy", "has more decimals than JPY, which has 0"),
        ("0", "usd", "is not between 0 and"),
        ("1000000", "usd", "is not between 0 and"),
    ],
)
def test_wrong_amount_is_explained(text: str, currency: str, problem: str) -> None:
    with pytest.raises(ValueError, match=re.escape(problem)):
        parse_amount(text, currency)


def test_package_has_an_amount_and_credits() -> None:
    offer = parse_package("20.00:220", "usd")
    assert offer == Offer.package("usd", 2000, 220)
    assert offer.text == "220 credits for 20.00 USD"


@pytest.mark.parametrize("text", ["5.00", "5.00:", ":50", "5.00:0", "5.00:-1", "5.00:1.5", "a:b"])
def test_wrong_package_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"is not"):
        parse_package(text, "usd")


def test_offers_are_described_in_their_currency() -> None:
    assert describe(2900, "usd", None) == "29.00 USD a month"
    assert describe(5000, "jpy", 1000) == "1,000 credits for 5000 JPY"
    yearly = {"type": "recurring", "recurring": {"interval": "year", "interval_count": 1}}
    assert (
        describe_price({**yearly, "unit_amount": 100, "currency": "usd"}) == "1.00 USD not monthly"
    )
    assert describe_price({"type": "one_time", "unit_amount": 100, "currency": "usd"}) == (
        "neither a package nor a plan"
    )
