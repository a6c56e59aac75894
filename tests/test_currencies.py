"""The table of currencies, and that it is the only one."""

import ast
import re
from pathlib import Path

import pytest

from datalayer_stripe.currencies import CURRENCY_DIGITS, major_units, minor_digits

PACKAGE = Path(__file__).parents[1] / "datalayer_stripe"


@pytest.mark.parametrize(
    ("currency", "digits"),
    [
        *((one, 0) for one in ("bif", "clp", "jpy", "krw", "vnd", "xaf", "xof", "xpf")),
        *((one, 2) for one in ("usd", "eur", "isk", "huf", "twd", "ugx")),
        *((one, 3) for one in ("bhd", "jod", "kwd", "omr", "tnd")),
    ],
)
def test_amounts_have_as_many_decimals_as_in_stripe_s_api(currency: str, digits: int) -> None:
    assert minor_digits(currency) == minor_digits(currency.upper()) == digits
    assert major_units(5 * 10**digits, currency) == 5


def test_no_other_module_or_page_has_a_table_of_currencies() -> None:
    """Search for the Burundi franc and the yen, which are in every list of such currencies."""
    found = {
        str(path.relative_to(PACKAGE))
        for path in [*PACKAGE.rglob("*.py"), *PACKAGE.rglob("*.js"), *PACKAGE.rglob("*.html")]
        if {"bif", "jpy"} <= set(re.findall(r"\w+", path.read_text(encoding="utf-8").lower()))
    }
    assert found == {"currencies.py"}
    assert {"bif", "jpy"} <= set(CURRENCY_DIGITS)


def test_sandbox_imports_only_the_currencies_of_the_service() -> None:
    for path in (PACKAGE / "sandbox").rglob("*.py"):
        depth = len(path.relative_to(PACKAGE).parts)
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and node.level >= depth:
                assert node.module == "currencies", path
            if isinstance(node, ast.ImportFrom) and node.level == 0:
                assert not (node.module or "").startswith("datalayer_stripe"), path
