"""Number of decimals of the amounts in Stripe's API, by currency.

https://docs.stripe.com/currencies

This is the only such table. The service, the sandbox and their pages use it.
"""

from collections.abc import Mapping

# https://docs.stripe.com/currencies#zero-decimal
# ISK, HUF, TWD and UGX are not in this list: people use them without decimals, or Stripe pays them
# out without decimals, but their amounts in the API have two.
_ZERO_DECIMAL = "bif clp djf gnf jpy kmf krw mga pyg rwf vnd vuv xaf xof xpf"
# https://docs.stripe.com/currencies#three-decimal
_THREE_DECIMAL = "bhd jod kwd omr tnd"

CURRENCY_DIGITS: Mapping[str, int] = {
    **dict.fromkeys(_ZERO_DECIMAL.split(), 0),
    **dict.fromkeys(_THREE_DECIMAL.split(), 3),
}
"""The number of decimals of the currencies that do not have 2. The keys are in lower case."""


def minor_digits(currency: str) -> int:
    """Return the number of decimals of a currency: 2 for `usd`, 0 for `jpy`, 3 for `kwd`."""
    return CURRENCY_DIGITS.get(currency.lower(), 2)


def major_units(amount: int, currency: str) -> float:
    """Convert an amount to the major unit: 2900 `usd` is 29.0, and 2900 `jpy` is 2900.0.

    Args:
        amount: The amount in the minor unit.
        currency: The three-letter code, in lower or upper case.
    """
    return float(amount / 10 ** minor_digits(currency))


def amount_text(amount: int, currency: str) -> str:
    """Return an amount for people: 2900 `usd` is `29.00 USD`, and 2900 `jpy` is `2,900 JPY`.

    Args:
        amount: The amount in the minor unit.
        currency: The three-letter code, in lower or upper case.
    """
    digits = minor_digits(currency)
    return f"{major_units(amount, currency):,.{digits}f} {currency.upper()}"
