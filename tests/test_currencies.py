"""One table says how many decimals amounts have, for the service, the sandbox and their pages."""

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
def test_amounts_have_the_decimals_that_stripe_gives_them(currency: str, digits: int) -> None:
    assert minor_digits(currency) == minor_digits(currency.upper()) == digits
    assert major_units(5 * 10**digits, currency) == 5


def test_no_other_file_has_a_list_of_currencies() -> None:
    """Every list of currencies without cents has the Burundi franc and the yen."""
    found = {
        str(path.relative_to(PACKAGE))
        for path in [*PACKAGE.rglob("*.py"), *PACKAGE.rglob("*.js"), *PACKAGE.rglob("*.html")]
        if {"bif", "jpy"} <= set(re.findall(r"\w+", path.read_text(encoding="utf-8").lower()))
    }
    assert found == {"currencies.py"}
    assert {"bif", "jpy"} <= set(CURRENCY_DIGITS)


def test_sandbox_and_service_share_only_the_currencies() -> None:
    for path in (PACKAGE / "sandbox").rglob("*.py"):
        depth = len(path.relative_to(PACKAGE).parts)
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and node.level >= depth:
                assert node.module == "currencies", path
            if isinstance(node, ast.ImportFrom) and node.level == 0:
                assert not (node.module or "").startswith("datalayer_stripe"), path
