"""Formatting of amounts, dates and cards."""

import pytest

from datalayer_stripe.sandbox.engine.formatting import card_name, date, money


@pytest.mark.parametrize(
    ("amount", "currency", "written"),
    [
        (500, "usd", "$5.00"),
        (123456, "eur", "€1,234.56"),
        (500, "jpy", "500 JPY"),
        (500, "chf", "5.00 CHF"),
        (500000, "ugx", "5,000.00 UGX"),
        (500000, "isk", "5,000.00 ISK"),
        (5120, "kwd", "5.120 KWD"),
    ],
)
def test_amount_is_formatted_in_major_unit(amount: int, currency: str, written: str) -> None:
    assert money(amount, currency) == written


def test_date_and_card_are_formatted() -> None:
    assert date(1772668800) == "5 Mar 2026"
    assert card_name({"brand": "amex", "last4": "0005"}) == "American Express •••• 0005"
