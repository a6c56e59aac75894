"""The page fits wherever it is shown."""

from collections.abc import Callable

import pytest
from playwright.sync_api import expect

from tests.browser.demo_server import Town
from tests.browser.visitor import PHONE, Visitor

TARGET = 44
"""The least height of what a finger is to hit, in CSS pixels."""


@pytest.mark.parametrize("width", [320, 390])
def test_nothing_is_wider_than_a_phone(
    width: int, new_visitor: Callable[..., Visitor], town: Town
) -> None:
    town.subscribe()
    town.buy()
    visitor = new_visitor(**{**PHONE, "viewport": {"width": width, "height": 844}})
    tab = visitor.open()
    expect(tab.rows).to_have_count(1)
    tab.choose(50)
    assert tab.page.evaluate("document.documentElement.scrollWidth") <= width
    heights = tab.main.get_by_role("button").evaluate_all(
        "(buttons) => buttons.map((button) => [button.textContent, "
        "button.getBoundingClientRect().height])"
    )
    assert [button for button in heights if button[1] < TARGET] == []
    assert tab.page.get_by_role("row").count() == 2, "the table is still a table"


@pytest.mark.parametrize("width", [1280, 1440, 1100, 720, 390])
def test_notice_of_the_local_stripe_covers_no_button(
    width: int, new_visitor: Callable[..., Visitor], town: Town
) -> None:
    town.subscribe()
    tab = new_visitor(viewport={"width": width, "height": 800}).open()
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
def test_invoices_stay_within_their_card(
    width: int, new_visitor: Callable[..., Visitor], town: Town
) -> None:
    town.subscribe()
    route = "/v1/checkout/portal"
    portal = town.ask("POST", route, return_url=f"{town.url}/checkout")["portal"]["url"]
    visitor = new_visitor(**{**PHONE, "viewport": {"width": width, "height": 844}})
    page = visitor.open(portal).page
    card = page.get_by_role("region", name="Invoices")
    amount = page.get_by_role("cell", name="$29.00")
    expect(amount).to_be_visible()
    edges = """(node) => {
      const { paddingRight } = getComputedStyle(node);
      return node.getBoundingClientRect().right - parseFloat(paddingRight);
    }"""
    assert amount.evaluate("(node) => node.getBoundingClientRect().right") <= card.evaluate(edges)
    assert page.get_by_role("row").count() == 2, "the table is still a table"


def test_nothing_jumps_when_the_data_comes(visitor: Visitor, town: Town) -> None:
    town.subscribe()
    town.buy()
    tab = visitor.open("about:blank")
    tab.page.goto(visitor.checkout_url)
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
    assert shift < 0.1, "web.dev/articles/cls: good is below 0.1"
