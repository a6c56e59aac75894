"""Test the history of top-ups, refunds and disputes."""

import pytest
from playwright.sync_api import expect

from tests.browser.browser_session import BrowserSession
from tests.browser.demo_server import DemoServer

PAGE = 20


@pytest.mark.usefixtures("unlimited")
def test_show_more_loads_next_page(session: BrowserSession, demo_server: DemoServer) -> None:
    demo_server.subscribe()
    for package in [1, *[0] * (PAGE + 1)]:
        demo_server.buy(package)
    tab = session.open()
    expect(tab.rows).to_have_count(PAGE)
    expect(tab.rows.first).to_contain_text("+50")
    more = tab.history.get_by_role("button", name="Show more")
    more.click()
    expect(tab.rows).to_have_count(PAGE + 2)
    expect(tab.rows.last).to_contain_text("+220")
    expect(more).to_have_count(0)
    expect(tab.history.get_by_role("columnheader")).to_have_text(
        ["Date", "Type", "Credits", "Amount", "Receipt"]
    )


@pytest.mark.usefixtures("own_demo")
def test_history_shows_refunds_and_disputes_with_their_credits(
    session: BrowserSession, demo_server: DemoServer
) -> None:
    demo_server.subscribe()
    bought = demo_server.buy()
    tab = session.open()
    expect(tab.rows).to_have_count(1)
    panel = session.open(demo_server.environment.panel_url).page
    panel.get_by_label("Amount, or empty").fill("2.00")
    panel.get_by_role("button", name="Refund", exact=True).click()
    expect(panel.get_by_role("status")).to_have_text("$2.00 refunded.")
    expect(tab.rows.first).to_contain_text("Refund-20-$2.00")
    panel.get_by_role("button", name="Dispute", exact=True).click()
    expect(tab.rows.first).to_contain_text("Payment disputed-30-$3.00")
    panel.get_by_role("button", name="Win", exact=True).click()
    expect(panel.get_by_role("status")).to_contain_text("is now won")
    expect(tab.rows.first).to_contain_text("Dispute won+30$3.00")
    expect(tab.rows.last).to_contain_text("Credits bought+50$5.00")
    expect(panel.get_by_role("button", name="Lose", exact=True)).to_be_visible()
    expect(panel.get_by_label("Open dispute")).to_be_disabled()
    assert demo_server.list_all("/v1/disputes")[0]["payment_intent"] == bought
