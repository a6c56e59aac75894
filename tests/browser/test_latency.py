"""Measure the time from a payment to the new balance on the page."""

import json
import statistics
from pathlib import Path

import pytest
from playwright.sync_api import expect

from tests.browser.browser_session import BrowserSession
from tests.browser.demo_server import DemoServer

# Resolves to the time at which the balance became the expected one, as epoch milliseconds.
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
@pytest.mark.parametrize("purchases", [5, pytest.param(20, marks=pytest.mark.faults)])
def test_latency_from_payment_to_balance(
    session: BrowserSession, demo_server: DemoServer, build_folder: Path, purchases: int
) -> None:
    demo_server.subscribe()
    tab = session.open()
    waits: list[float] = []
    for number in range(1, purchases + 1):
        tab.choose(50)
        tab.fill_card()
        tab.page.evaluate(_WHEN_BALANCE_IS, f"{50 * number:,}")
        tab.pay_button.click()
        tab.expect_balance(50 * number)
        expect(tab.receipt).to_contain_text("50 credits added.")
        waits.append(tab.page.evaluate("window.arrival") - demo_server.paid_at[-1] * 1000)
    assert demo_server.credits() == 50 * purchases
    figures = {
        "unit": "ms",
        "median": round(statistics.median(waits)),
        "worst": round(max(waits)),
        "n": len(waits),
    }
    print(f"\nFrom the payment to the new balance: {figures}")
    (build_folder / "balance-latency.json").write_text(json.dumps(figures) + "\n")
