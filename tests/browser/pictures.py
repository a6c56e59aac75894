"""Make the pictures of docs/checkout.md, and put the measured time beside them: `make pictures`.

The time is the one that the browser tests measured last.
"""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, Page, expect, sync_playwright

from tests.browser.checkout import Checkout
from tests.browser.chromium import launch
from tests.browser.demo_server import Town, open_town
from tests.browser.visitor import PHONE, Visitor

ROOT = Path(__file__).parents[2]
DOCUMENT = ROOT / "docs" / "checkout.md"
IMAGES = ROOT / "docs" / "images"
BEGIN, END = "<!-- figures: begin -->", "<!-- figures: end -->"

_WIDE: dict[str, Any] = {"viewport": {"width": 1120, "height": 900}, "device_scale_factor": 1}


def main() -> None:
    IMAGES.mkdir(exist_ok=True)
    with sync_playwright() as playwright, open_town("memory://") as town:
        browser = launch(playwright.chromium)
        town.subscribe()
        town.buy(0)
        town.buy(1)
        _picture(browser, town, "checkout-phone", lambda _: None, **PHONE)
        _picture(browser, town, "checkout-desktop", _choose, **_WIDE)
        _picture(browser, town, "checkout-dark", _buy, color_scheme="dark", **_WIDE)
        _panel(browser, town)
        browser.close()
    write_figures()


def _picture(
    browser: Browser, town: Town, name: str, prepare: Callable[[Checkout], None], **options: Any
) -> None:
    visitor = Visitor(browser, town, **options)
    tab = visitor.open()
    expect(tab.rows).not_to_have_count(0)
    prepare(tab)
    # What only the demo has is not in the pictures.
    tab.page.get_by_role("button", name="Dismiss").click()
    _keep(tab.page, name)
    visitor.leave()


def _choose(tab: Checkout) -> None:
    tab.choose(50)
    tab.fill_in()


def _buy(tab: Checkout) -> None:
    rows = tab.rows.count()
    tab.buy(50)
    expect(tab.rows).to_have_count(rows + 1)


def _panel(browser: Browser, town: Town) -> None:
    visitor = Visitor(browser, town, **_WIDE)
    page = visitor.context.new_page()
    page.goto(town.stage.panel_url)
    expect(page.get_by_text("payment_intent.succeeded").first).to_be_visible()
    _keep(page, "stripe-side")
    visitor.leave()


def _keep(page: Page, name: str) -> None:
    path = IMAGES / f"{name}.png"
    page.screenshot(path=path, full_page=True, animations="disabled")
    print(f"{path.relative_to(ROOT)}  {path.stat().st_size // 1024} KB")


def write_figures() -> None:
    measured = ROOT / "build" / "balance-latency.json"
    if not measured.exists():
        sys.exit("There are no figures yet: run `make test` first.")
    figures = json.loads(measured.read_text())
    before, _, rest = DOCUMENT.read_text().partition(BEGIN)
    _, _, after = rest.partition(END)
    DOCUMENT.write_text(f"{before}{BEGIN}\n{markdown(figures)}\n{END}{after}")
    print(f"{DOCUMENT.relative_to(ROOT)}  {figures}")


def markdown(figures: dict[str, Any]) -> str:
    unit = figures["unit"]
    return (
        "| purchases | median | worst |\n| ---: | ---: | ---: |\n"
        f"| {figures['n']} | {figures['median']} {unit} | {figures['worst']} {unit} |"
    )


if __name__ == "__main__":
    main()
