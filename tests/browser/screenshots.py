"""Create the screenshots of the documents: `make screenshots`.

Update the latency table of docs/checkout.md, too. The latency is the one that the browser tests
measured last.
"""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, Page, expect, sync_playwright

from tests.browser.browser_session import PHONE, BrowserSession
from tests.browser.checkout import Checkout
from tests.browser.chromium import launch
from tests.browser.demo_server import DemoServer, running_demo
from tests.browser.lab_screenshots import save_lab
from tests.browser.operator_screenshots import save_operator_pages

ROOT = Path(__file__).parents[2]
DOCUMENT = ROOT / "docs" / "checkout.md"
IMAGES = ROOT / "docs" / "images"
BEGIN, END = "<!-- figures: begin -->", "<!-- figures: end -->"

_WIDE: dict[str, Any] = {"viewport": {"width": 1120, "height": 900}, "device_scale_factor": 1}
# As high as the page with the card form. For a lower viewport, the browser resizes the page during
# the screenshot, and the iframe of the form does not have its final height then.
_WIDE_FORM: dict[str, Any] = {**_WIDE, "viewport": {"width": 1120, "height": 1080}}


def main() -> None:
    IMAGES.mkdir(exist_ok=True)
    with sync_playwright() as playwright, running_demo() as demo:
        browser, demo_server = launch(playwright.chromium), DemoServer(demo)
        demo_server.subscribe()
        demo_server.buy(0)
        demo_server.buy(1)
        _save_page(browser, demo_server, "checkout-phone", lambda _: None, **PHONE)
        _save_page(browser, demo_server, "checkout-desktop", _choose, **_WIDE_FORM)
        _save_page(browser, demo_server, "checkout-dark", _buy, color_scheme="dark", **_WIDE)
        _save_panel(browser, demo_server)
        save_operator_pages(browser, _save)
        save_lab(browser, demo_server, _save)
        browser.close()
    write_figures()


def _save_page(
    browser: Browser,
    demo_server: DemoServer,
    name: str,
    prepare: Callable[[Checkout], None],
    **options: Any,
) -> None:
    session = BrowserSession(browser, demo_server, **options)
    tab = session.open()
    expect(tab.rows).not_to_have_count(0)
    prepare(tab)
    # Hide the notice that only the demo has.
    tab.page.get_by_role("button", name="Dismiss").click()
    _save(tab.page, name)
    session.close()


def _choose(tab: Checkout) -> None:
    tab.choose(50)
    tab.fill_card()


def _buy(tab: Checkout) -> None:
    rows = tab.rows.count()
    tab.buy(50)
    expect(tab.rows).to_have_count(rows + 1)


def _save_panel(browser: Browser, demo_server: DemoServer) -> None:
    session = BrowserSession(browser, demo_server, **_WIDE)
    page = session.context.new_page()
    page.goto(demo_server.environment.panel_url)
    expect(page.get_by_text("payment_intent.succeeded").first).to_be_visible()
    _save(page, "stripe-side")
    session.close()


def _save(page: Page, name: str) -> None:
    path = IMAGES / f"{name}.png"
    page.screenshot(path=path, full_page=True, animations="disabled")
    print(f"{path.relative_to(ROOT)}  {path.stat().st_size // 1024} KB")


def write_figures() -> None:
    measured = ROOT / "build" / "balance-latency.json"
    if not measured.exists():
        sys.exit("There is no measured latency yet. Run `make test-faults` first.")
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
