"""Stripe's side: what a person does there shows on the checkout page, and there itself."""

import re

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.browser.town import Town
from tests.browser.visitor import Visitor


@pytest.fixture
def panel(visitor: Visitor, town: Town) -> Page:
    """The panel, after a subscription and the purchase of 50 credits."""
    town.subscribe()
    town.buy()
    return visitor.open(town.stage.panel_url).page


def deliveries(panel: Page, event_type: str, outcome: str = "") -> Locator:
    """The deliveries of a type, with the outcome."""
    rows = panel.get_by_role("region", name="Deliveries").get_by_role("listitem")
    return rows.filter(has=panel.get_by_text(event_type, exact=True)).filter(has_text=outcome)


def test_hold_and_release(visitor: Visitor, town: Town, panel: Page) -> None:
    tab = visitor.open()
    tab.expect_balance(50)
    panel.bring_to_front()
    panel.get_by_label("Hold events back").check()
    expect(panel.get_by_role("status")).not_to_be_empty()
    tab.page.route("**/topup/payment-intent/*", lambda route: route.abort())
    visitor.watch.allow("net::ERR_FAILED .*/topup/payment-intent/")
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


def test_twice_and_again(town: Town, panel: Page) -> None:
    panel.get_by_label("Deliver each event twice").check()
    expect(panel.get_by_role("status")).not_to_be_empty()
    town.buy()
    paid = "payment_intent.succeeded"
    expect(deliveries(panel, paid, "200 duplicate")).to_have_count(1)
    deliveries(panel, paid).first.get_by_role("button", name=f"Send again: {paid}").click()
    expect(deliveries(panel, paid, "200 duplicate")).to_have_count(2)
    assert town.credits() == 100

    newest = deliveries(panel, paid).first
    newest.get_by_text("Event and answer").click()
    expect(newest.get_by_role("region", name="Answer")).to_contain_text('"outcome": "duplicate"')
    expect(newest.get_by_role("region", name="Event")).to_contain_text(f'"type": "{paid}"')


def test_a_lost_webhook(visitor: Visitor, town: Town, panel: Page) -> None:
    tab = visitor.open()
    panel.bring_to_front()
    panel.get_by_role("button", name="Lose the next one").click()
    expect(panel.get_by_text("The next one will be lost.")).to_be_visible()
    tab.choose(50)
    tab.pay()
    tab.expect_state("done")
    tab.expect_balance(100)


def test_refund(town: Town, panel: Page) -> None:
    panel.get_by_label("Refund").select_option(label="$5.00: 50 credits")
    panel.get_by_label("Amount, or empty for all of it").fill("2.00")
    panel.get_by_role("button", name="Refund", exact=True).click()
    payments = panel.get_by_role("region", name="Payments")
    expect(payments).to_contain_text("$2.00 refunded")
    [refund] = town.listed("/v1/refunds")
    assert refund["amount"] == 200


def test_months_pass_and_a_renewal_fails(visitor: Visitor, town: Town, panel: Page) -> None:
    tab = visitor.open()
    renews = tab.plan.get_by_text("Renews on")
    first = renews.inner_text()
    panel.bring_to_front()
    panel.get_by_label("Move the clock forward").select_option("to the end of the period")
    panel.get_by_role("button", name="Move").click()
    expect(deliveries(panel, "invoice.paid")).to_have_count(2)
    expect(renews).not_to_have_text(first)

    panel.get_by_role("button", name="Fail the renewal").click()
    expect(deliveries(panel, "invoice.payment_failed")).to_have_count(1)
    expect(tab.plan).to_contain_text("The last payment did not go through.")
    expect(tab.buy_button(50)).to_be_disabled()
