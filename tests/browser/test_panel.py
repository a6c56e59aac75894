"""Test the panel that controls the local Stripe, and its effects on the checkout page."""

import re

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.browser.browser_session import BrowserSession
from tests.browser.demo_server import DemoServer

pytestmark = pytest.mark.usefixtures("own_demo")


@pytest.fixture
def panel(session: BrowserSession, demo_server: DemoServer) -> Page:
    """The panel, after a subscription and the purchase of 50 credits."""
    demo_server.subscribe()
    demo_server.buy()
    return session.open(demo_server.environment.panel_url).page


def deliveries(panel: Page, event_type: str, outcome: str = "") -> Locator:
    """Return the rows of deliveries with this event type and outcome."""
    rows = panel.get_by_role("region", name="Deliveries").get_by_role("listitem")
    return rows.filter(has=panel.get_by_text(event_type, exact=True)).filter(has_text=outcome)


def test_held_webhooks_arrive_after_release(
    session: BrowserSession, demo_server: DemoServer, panel: Page
) -> None:
    tab = session.open()
    tab.expect_balance(50)
    panel.bring_to_front()
    panel.get_by_label("Hold events back").check()
    expect(panel.get_by_role("status")).not_to_be_empty()
    tab.page.route("**/topup/payment-intent/*", lambda route: route.abort())
    session.monitor.allow("net::ERR_FAILED .*/topup/payment-intent/")
    tab.choose(50)
    tab.pay()
    tab.expect_state("waiting")
    expect(panel.get_by_text(re.compile(r"^[1-9]\d* held back$"))).to_be_visible()
    tab.expect_balance(50)
    tab.page.unroute("**/topup/payment-intent/*")
    panel.bring_to_front()
    panel.get_by_label(re.compile("held back")).select_option("reversed")
    panel.get_by_role("button", name="Release").click()
    tab.expect_balance(100)
    tab.expect_state("done")
    expect(panel.get_by_label("Hold events back")).not_to_be_checked()


def test_duplicate_and_resent_events_add_nothing(demo_server: DemoServer, panel: Page) -> None:
    panel.get_by_label("Deliver each event twice").check()
    expect(panel.get_by_role("status")).not_to_be_empty()
    demo_server.buy()
    paid = "payment_intent.succeeded"
    expect(deliveries(panel, paid, "200 duplicate")).to_have_count(1)
    deliveries(panel, paid).first.get_by_role("button", name=f"Send again: {paid}").click()
    expect(deliveries(panel, paid, "200 duplicate")).to_have_count(2)
    assert demo_server.credits() == 100

    newest = deliveries(panel, paid).first
    newest.get_by_text("Event and answer").click()
    expect(newest.get_by_role("region", name="Answer")).to_contain_text('"outcome": "duplicate"')
    expect(newest.get_by_role("region", name="Event")).to_contain_text(f'"type": "{paid}"')


def test_credits_are_added_when_webhook_is_dropped(
    session: BrowserSession, demo_server: DemoServer, panel: Page
) -> None:
    tab = session.open()
    panel.bring_to_front()
    panel.get_by_role("button", name="Drop the next event").click()
    expect(panel.get_by_text("The next event will be dropped.")).to_be_visible()
    tab.choose(50)
    tab.pay()
    tab.expect_state("done")
    tab.expect_balance(100)


def test_partial_refund_is_recorded(demo_server: DemoServer, panel: Page) -> None:
    panel.get_by_label("Refund, or dispute").select_option(label="$5.00: 50 credits")
    panel.get_by_label("Amount, or empty for all of it").fill("2.00")
    panel.get_by_role("button", name="Refund", exact=True).click()
    payments = panel.get_by_role("region", name="Payments")
    expect(payments).to_contain_text("$2.00 refunded")
    [refund] = demo_server.list_all("/v1/refunds")
    assert refund["amount"] == 200


def test_controls_are_disabled_when_not_applicable(
    session: BrowserSession, demo_server: DemoServer
) -> None:
    panel = session.open(demo_server.environment.panel_url).page
    for name in ("Renew now", "Fail the renewal", "Refund", "Dispute", "Win", "Lose"):
        expect(panel.get_by_role("button", name=name, exact=True)).to_be_disabled()
    demo_server.subscribe()
    expect(panel.get_by_role("button", name="Refund", exact=True)).to_be_enabled()
    expect(panel.get_by_role("button", name="Renew now")).to_be_enabled()
    expect(panel.get_by_role("button", name="Win")).to_be_disabled()
    panel.get_by_role("button", name="Dispute", exact=True).click()
    panel.get_by_role("button", name="Win").click()
    expect(panel.get_by_text("The dispute is now won.")).to_be_visible()
    expect(panel.get_by_role("button", name="Win")).to_be_disabled()


def test_refund_above_payment_shows_error_with_amounts(
    session: BrowserSession, panel: Page
) -> None:
    session.monitor.allow_status(400)
    panel.get_by_label("Refund, or dispute").select_option(label="$5.00: 50 credits")
    panel.get_by_label("Amount, or empty for all of it").fill("50")
    panel.get_by_role("button", name="Refund", exact=True).click()
    expect(panel.get_by_role("alert")).to_have_text(
        "Refund amount ($50.00) is greater than unrefunded amount on charge ($5.00)"
    )


def test_refund_and_dispute_take_each_credit_once(
    session: BrowserSession, demo_server: DemoServer, panel: Page
) -> None:
    tab = session.open()
    panel.bring_to_front()
    panel.get_by_label("Refund, or dispute").select_option(label="$5.00: 50 credits")
    panel.get_by_label("Amount, or empty for all of it").fill("2.50")
    panel.get_by_role("button", name="Refund", exact=True).click()
    expect(panel.get_by_text("$2.50 refunded.")).to_be_visible()
    panel.get_by_label("Refund, or dispute").select_option(label="$2.50: 50 credits")
    panel.get_by_role("button", name="Dispute", exact=True).click()
    expect(panel.get_by_text("$2.50 disputed.")).to_be_visible()
    tab.bring_to_front()
    expect(tab.rows).to_have_count(3)
    amounts = [row.locator("td.amount").inner_text() for row in tab.rows.all()]
    assert amounts == ["-$2.50", "-$2.50", "$5.00"]


def test_panel_shows_balance_and_links_to_checkout(demo_server: DemoServer, panel: Page) -> None:
    expect(panel.get_by_text("Balance: 50 credits")).to_be_visible()
    demo_server.buy()
    expect(panel.get_by_text("Balance: 100 credits")).to_be_visible()
    panel.get_by_role("link", name="Checkout page").click()
    panel.wait_for_url(f"{demo_server.url}{demo_server.settings.checkout_path}")


def test_failed_renewal_disables_packages(
    session: BrowserSession, demo_server: DemoServer, panel: Page
) -> None:
    tab = session.open()
    renews = tab.plan.get_by_text("Renews on")
    first = renews.inner_text()
    panel.bring_to_front()
    panel.get_by_label("Move the clock forward").select_option("to the end of the period")
    panel.get_by_role("button", name="Move").click()
    expect(deliveries(panel, "invoice.paid")).to_have_count(2)
    expect(renews).not_to_have_text(first)

    panel.get_by_role("button", name="Fail the renewal").click()
    expect(deliveries(panel, "invoice.payment_failed")).to_have_count(1)
    expect(tab.plan).to_contain_text("The last payment failed.")
    expect(tab.buy_button(50)).to_be_disabled()
