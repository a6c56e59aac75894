"""How many decimals the amounts of Stripe's API have in each currency.

https://docs.stripe.com/currencies

This is the only such table: the service, the sandbox and the pages of both use it.
"""

from collections.abc import Mapping

# https://docs.stripe.com/currencies#zero-decimal. ISK, HUF, TWD and UGX are special cases: people
# use them without decimals, or Stripe pays them out without, but their amounts have two.
_ZERO_DECIMAL = "bif clp djf gnf jpy kmf krw mga pyg rwf vnd vuv xaf xof xpf"
# https://docs.stripe.com/currencies#three-decimal
_THREE_DECIMAL = "bhd jod kwd omr tnd"

CURRENCY_DIGITS: Mapping[str, int] = {
    **dict.fromkeys(_ZERO_DECIMAL.split(), 0),
    **dict.fromkeys(_THREE_DECIMAL.split(), 3),
}
"""The number of decimals by currency, in lower case, where it is not 2."""


def minor_digits(currency: str) -> int:
    """Return how many decimals an amount has: 2 for `usd`, 0 for `jpy`, 3 for `kwd`."""
    return CURRENCY_DIGITS.get(currency.lower(), 2)


def major_units(amount: int, currency: str) -> float:
    """Convert an amount to the major unit: 2900 `usd` is 29.0, and 2900 `jpy` is 2900.0."""
    return float(amount / 10 ** minor_digits(currency))
