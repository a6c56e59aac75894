"""The plan: cancelled, resumed, managed in Stripe's portal, and not paid."""

import re
from typing import Any

import pytest
from playwright.sync_api import expect

from datalayer_stripe.sandbox.resources.subscriptions import Subscriptions
from tests.browser.demo_server import Town
from tests.browser.visitor import Visitor


def test_cancel_and_resume(visitor: Visitor, town: Town) -> None:
    subscription = town.subscribe()
    tab = visitor.open()
    cancel = tab.plan.get_by_role("button", name="Cancel subscription")
    cancel.click()
    dialog = tab.page.get_by_role("dialog")
    dialog.get_by_role("button", name="Keep it").click()
    expect(dialog).to_have_count(0)
    assert not town.stripe("GET", f"/v1/subscriptions/{subscription}")["cancel_at_period_end"]

    cancel.click()
    dialog.get_by_role("button", name="Yes, cancel it").click()
    expect(tab.plan).to_contain_text("Ends on")
    [end] = re.findall(r"Ends on (\d+ \w+ \d{4})", tab.plan.inner_text())
    expect(tab.plan.locator(".badge")).to_have_text("Ending")
    expect(tab.page.locator("#plan-summary")).to_have_text(
        re.compile(rf"^Monthly plan, active until {end}$")
    )
    expect(tab.buy_button(50)).to_be_enabled()
    assert town.stripe("GET", f"/v1/subscriptions/{subscription}")["cancel_at_period_end"]

    tab.plan.get_by_role("button", name="Resume subscription").click()
    expect(tab.plan).to_contain_text("Renews on")
    expect(tab.plan.locator(".badge")).to_have_text("Active")
    expect(cancel).to_be_visible()
    assert not town.stripe("GET", f"/v1/subscriptions/{subscription}")["cancel_at_period_end"]


def test_the_portal_and_back(visitor: Visitor, town: Town) -> None:
    town.subscribe()
    tab = visitor.open()
    tab.plan.get_by_role("button", name="Manage billing").click()
    tab.page.wait_for_url(re.compile(f"^{town.stripe_url}/sandbox/portal/"))
    tab.page.get_by_role("button", name=re.compile("^Cancel")).click()
    expect(tab.page.get_by_role("button", name="Don't cancel")).to_be_visible()
    tab.page.get_by_role("link", name=re.compile("^Return")).click()
    tab.page.wait_for_url(visitor.checkout_url)
    expect(tab.plan).to_contain_text("Ends on")


def test_a_renewal_that_fails_is_said(visitor: Visitor, town: Town) -> None:
    subscription = town.subscribe()
    tab = visitor.open()
    expect(tab.plan).to_contain_text("Renews on")
    town.call(town.sandbox.renew, subscription, fail=True)
    town.settle()
    expect(tab.plan).to_contain_text(re.compile("payment|paid", re.IGNORECASE))
    expect(tab.plan).not_to_contain_text("Renews on")
    expect(tab.plan.get_by_role("button", name="Manage billing")).to_be_visible()
    expect(tab.buy_button(50)).to_be_disabled()


def test_a_first_payment_is_finished_later(visitor: Visitor, town: Town) -> None:
    tab = visitor.open()
    tab.subscribe_button.click()
    tab.expect_state("form")
    tab.page.get_by_role("button", name="Back").click()
    finish = tab.plan.get_by_role("button", name="Finish subscribing")
    expect(finish).to_be_focused()
    tab.page.reload()
    finish.click()
    tab.pay()
    expect(tab.buy_button(50)).to_be_enabled()
    assert len(town.listed("/v1/subscriptions", status="all")) == 1


@pytest.fixture
def trials(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every subscription begins with a trial."""
    new = Subscriptions._new

    def with_a_trial(self: Subscriptions, customer: Any, prices: Any, values: Any) -> Any:
        return new(self, customer, prices, {**values, "trial_period_days": 14})

    monkeypatch.setattr(Subscriptions, "_new", with_a_trial)


def test_a_trial_s_form_stays_until_its_card_is_saved(
    visitor: Visitor, town: Town, trials: None
) -> None:
    tab = visitor.open()
    tab.subscribe_button.click()
    tab.expect_state("form")
    expect(tab.plan).to_contain_text("Trial")
    tab.card_form.get_by_label("Card number").fill("4242")
    town.settle()
    [subscription] = town.listed("/v1/subscriptions", status="all")
    path = f"/v1/subscriptions/{subscription['id']}"
    town.stripe("POST", path, cancel_at_period_end=True)
    town.settle()
    expect(tab.plan).to_contain_text("Ends on")
    town.stripe("POST", path, cancel_at_period_end=False)
    town.settle()
    expect(tab.plan).not_to_contain_text("Ends on")
    tab.expect_state("form")
    expect(tab.card_form.get_by_label("Card number")).to_have_value("4242")

    tab.fill_in()
    tab.payment.get_by_role("button", name="Save card").click()
    tab.expect_state("done")
    [setup] = town.listed("/v1/setup_intents")
    assert setup["status"] == "succeeded"


def test_a_trial_s_card_that_is_saved_in_another_tab_ends_the_form(
    visitor: Visitor, town: Town, trials: None
) -> None:
    tab = visitor.open()
    tab.subscribe_button.click()
    tab.expect_state("form")
    expect(tab.plan).to_contain_text("Trial")
    [setup] = town.listed("/v1/setup_intents")
    town.call(town.sandbox.confirm_setup, setup["client_secret"])
    town.settle()
    [subscription] = town.listed("/v1/subscriptions", status="all")
    town.stripe("POST", f"/v1/subscriptions/{subscription['id']}", cancel_at_period_end=True)
    town.settle()
    tab.expect_state("done")
