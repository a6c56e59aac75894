"""Test the layout on narrow and wide screens."""

from collections.abc import Callable

import pytest
from playwright.sync_api import expect

from tests.browser.browser_session import PHONE, BrowserSession
from tests.browser.demo_server import DemoServer

MIN_BUTTON_HEIGHT = 44
"""Minimum height of a button on a touch screen, in CSS pixels."""


@pytest.mark.parametrize("width", [320, 390])
def test_page_fits_phone_width(
    width: int, new_session: Callable[..., BrowserSession], demo_server: DemoServer
) -> None:
    demo_server.subscribe()
    demo_server.buy()
    session = new_session(**{**PHONE, "viewport": {"width": width, "height": 844}})
    tab = session.open()
    expect(tab.rows).to_have_count(1)
    tab.choose(50)
    assert tab.page.evaluate("document.documentElement.scrollWidth") <= width
    heights = tab.main.get_by_role("button").evaluate_all(
        "(buttons) => buttons.map((button) => [button.textContent, "
        "button.getBoundingClientRect().height])"
    )
    assert [button for button in heights if button[1] < MIN_BUTTON_HEIGHT] == []
    assert tab.page.get_by_role("row").count() == 2, "the table keeps its role"


@pytest.mark.parametrize("width", [1280, 1440, 1100, 720, 390])
def test_notice_of_local_stripe_covers_no_content(
    width: int, new_session: Callable[..., BrowserSession], demo_server: DemoServer
) -> None:
    demo_server.subscribe()
    tab = new_session(viewport={"width": width, "height": 800}).open()
    expect(tab.buy_button(600)).to_be_enabled()
    notice = tab.page.get_by_role("complementary", name="Local Stripe")
    expect(notice).to_be_visible()
    overlaps = """(notice) => {
      const one = notice.getBoundingClientRect();
      return [...document.querySelectorAll("main button, main a, main p")].filter((node) => {
        const other = node.getBoundingClientRect();
        return other.width && other.left < one.right && one.left < other.right
          && other.top < one.bottom && one.top < other.bottom;
      }).map((node) => node.textContent);
    }"""
    for place in (0, 0.5, 1):
        tab.page.evaluate("(place) => scrollTo(0, place * document.body.scrollHeight)", place)
        assert notice.evaluate(overlaps) == []


@pytest.mark.parametrize("width", [320, 390])
def test_invoices_fit_in_their_card(
    width: int, new_session: Callable[..., BrowserSession], demo_server: DemoServer
) -> None:
    demo_server.subscribe()
    route = "/v1/checkout/portal"
    portal = demo_server.request("POST", route, return_url=f"{demo_server.url}/checkout")["portal"][
        "url"
    ]
    session = new_session(**{**PHONE, "viewport": {"width": width, "height": 844}})
    page = session.open(portal).page
    card = page.get_by_role("region", name="Invoices")
    amount = page.get_by_role("cell", name="$29.00")
    expect(amount).to_be_visible()
    edges = """(node) => {
      const { paddingRight } = getComputedStyle(node);
      return node.getBoundingClientRect().right - parseFloat(paddingRight);
    }"""
    assert amount.evaluate("(node) => node.getBoundingClientRect().right") <= card.evaluate(edges)
    assert page.get_by_role("row").count() == 2, "the table keeps its role"


def test_layout_does_not_shift_when_data_loads(
    session: BrowserSession, demo_server: DemoServer
) -> None:
    demo_server.subscribe()
    demo_server.buy()
    tab = session.open("about:blank")
    tab.page.goto(session.checkout_url)
    expect(tab.rows).to_have_count(1)
    shift = tab.page.evaluate(
        """() => new Promise((resolve) => {
          new PerformanceObserver((list) => {
            const shifts = list.getEntries().filter((entry) => !entry.hadRecentInput);
            resolve(shifts.reduce((sum, entry) => sum + entry.value, 0));
          }).observe({ type: "layout-shift", buffered: true });
          setTimeout(() => resolve(0), 300);
        })"""
    )
    assert shift < 0.1, "good is below 0.1: https://web.dev/articles/cls"
