"""The page fits wherever it is shown."""

from collections.abc import Callable

import pytest
from playwright.sync_api import expect

from tests.browser.town import Town
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
