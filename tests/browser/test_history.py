"""What was bought, newest first."""

from playwright.sync_api import expect

from tests.browser.town import Town
from tests.browser.visitor import Visitor

PAGE = 20


def test_more_is_shown_on_demand(visitor: Visitor, town: Town) -> None:
    town.subscribe()
    for package in [1, *[0] * (PAGE + 1)]:
        town.buy(package)
    tab = visitor.open()
    expect(tab.rows).to_have_count(PAGE)
    expect(tab.rows.first).to_contain_text("+50")
    more = tab.history.get_by_role("button", name="Show more")
    more.click()
    expect(tab.rows).to_have_count(PAGE + 2)
    expect(tab.rows.last).to_contain_text("+220")
    expect(more).to_have_count(0)
    expect(tab.history.get_by_role("columnheader")).to_have_text(
        ["Date", "What", "Credits", "Amount", "Receipt"]
    )
