"""How long a paid customer waits for the new balance."""

import json
import statistics
from pathlib import Path

import pytest
from playwright.sync_api import expect

from tests.browser.demo_server import Town
from tests.browser.visitor import Visitor

PURCHASES = 20

# Tells when the balance came to its new value, on the clock that the service has, too.
_WHEN_BALANCE_IS = """
(expected) => {
  const balance = document.querySelector("#balance");
  window.arrival = new Promise((resolve) => {
    const look = () => {
      if (balance.textContent === expected) resolve(performance.timeOrigin + performance.now());
    };
    new MutationObserver(look).observe(balance, {
      characterData: true, childList: true, subtree: true,
    });
    look();
  });
}
"""


@pytest.mark.mongod
@pytest.mark.usefixtures("unlimited")
def test_from_payment_to_balance(visitor: Visitor, town: Town, built: Path) -> None:
    town.subscribe()
    tab = visitor.open()
    waits: list[float] = []
    for number in range(1, PURCHASES + 1):
        tab.choose(50)
        tab.fill_in()
        tab.page.evaluate(_WHEN_BALANCE_IS, f"{50 * number:,}")
        tab.pay_button.click()
        tab.expect_balance(50 * number)
        expect(tab.receipt).to_contain_text("50 credits added.")
        waits.append(tab.page.evaluate("window.arrival") - town.paid_at[-1] * 1000)
    assert town.credits() == 50 * PURCHASES
    figures = {
        "unit": "ms",
        "median": round(statistics.median(waits)),
        "worst": round(max(waits)),
        "n": len(waits),
    }
    print(f"\nFrom the payment to the new balance: {figures}")
    (built / "balance-latency.json").write_text(json.dumps(figures) + "\n")
