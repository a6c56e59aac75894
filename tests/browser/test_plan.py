"""Test cancelling, resuming, managing and paying the plan."""

import re
from typing import Any

import pytest
from playwright.sync_api import expect

from datalayer_stripe.sandbox.resources.subscriptions import Subscriptions
from tests.browser.browser_session import BrowserSession
from tests.browser.demo_server import DemoServer


def test_plan_can_be_cancelled_and_resumed(
    session: BrowserSession, demo_server: DemoServer
) -> None:
    subscription = demo_server.subscribe()
    tab = session.open()
    cancel = tab.plan.get_by_role("button", name="Cancel subscription")
    cancel.click()
    dialog = tab.page.get_by_role("dialog")
    dialog.get_by_role("button", name="Keep it").click()
    expect(dialog).to_have_count(0)
    assert not demo_server.stripe("GET", f"/v1/subscriptions/{subscription}")[
        "cancel_at_period_end"
    ]

    cancel.click()
    dialog.get_by_role("button", name="Yes, cancel it").click()
    expect(tab.plan).to_contain_text("Ends on")
    [end] = re.findall(r"Ends on (\d+ \w+ \d{4})", tab.plan.inner_text())
    expect(tab.plan.locator(".badge")).to_have_text("Ending")
    expect(tab.page.locator("#plan-summary")).to_have_text(
        re.compile(rf"^Monthly plan, active until {end}$")
    )
    expect(tab.buy_button(50)).to_be_enabled()
    assert demo_server.stripe("GET", f"/v1/subscriptions/{subscription}")["cancel_at_period_end"]

    tab.plan.get_by_role("button", name="Resume subscription").click()
    expect(tab.plan).to_contain_text("Renews on")
    expect(tab.plan.locator(".badge")).to_have_text("Active")
    expect(cancel).to_be_visible()
    assert not demo_server.stripe("GET", f"/v1/subscriptions/{subscription}")[
        "cancel_at_period_end"
    ]


def test_page_shows_cancellation_made_in_portal(
    session: BrowserSession, demo_server: DemoServer
) -> None:
    demo_server.subscribe()
    tab = session.open()
    tab.plan.get_by_role("button", name="Manage billing").click()
    tab.page.wait_for_url(re.compile(f"^{demo_server.stripe_url}/sandbox/portal/"))
    tab.page.get_by_role("button", name=re.compile("^Cancel")).click()
    expect(tab.page.get_by_role("button", name="Don't cancel")).to_be_visible()
    tab.page.get_by_role("link", name=re.compile("^Return")).click()
    tab.page.wait_for_url(session.checkout_url)
    expect(tab.plan).to_contain_text("Ends on")


def test_failed_renewal_is_shown(session: BrowserSession, demo_server: DemoServer) -> None:
    subscription = demo_server.subscribe()
    tab = session.open()
    expect(tab.plan).to_contain_text("Renews on")
    demo_server.call(demo_server.sandbox.renew, subscription, fail=True)
    demo_server.settle()
    expect(tab.plan).to_contain_text(re.compile("payment|paid", re.IGNORECASE))
    expect(tab.plan).not_to_contain_text("Renews on")
    expect(tab.plan.get_by_role("button", name="Manage billing")).to_be_visible()
    expect(tab.buy_button(50)).to_be_disabled()


def test_first_payment_can_be_finished_after_reload(
    session: BrowserSession, demo_server: DemoServer
) -> None:
    tab = session.open()
    tab.subscribe_button.click()
    tab.expect_state("form")
    tab.page.get_by_role("button", name="Back").click()
    finish = tab.plan.get_by_role("button", name="Finish subscribing")
    expect(finish).to_be_focused()
    tab.page.reload()
    finish.click()
    tab.pay()
    expect(tab.buy_button(50)).to_be_enabled()
    assert len(demo_server.list_own("/v1/subscriptions", status="all")) == 1


@pytest.fixture
def trials(monkeypatch: pytest.MonkeyPatch) -> None:
    """Create every subscription with a trial."""
    new = Subscriptions._new

    def new_with_trial(self: Subscriptions, customer: Any, prices: Any, values: Any) -> Any:
        return new(self, customer, prices, {**values, "trial_period_days": 14})

    monkeypatch.setattr(Subscriptions, "_new", new_with_trial)


def test_trial_form_stays_open_until_card_is_saved(
    session: BrowserSession, demo_server: DemoServer, trials: None
) -> None:
    tab = session.open()
    tab.subscribe_button.click()
    tab.expect_state("form")
    expect(tab.plan).to_contain_text("Trial")
    tab.card_form.get_by_label("Card number").fill("4242")
    demo_server.settle()
    [subscription] = demo_server.list_own("/v1/subscriptions", status="all")
    path = f"/v1/subscriptions/{subscription['id']}"
    demo_server.stripe("POST", path, cancel_at_period_end=True)
    demo_server.settle()
    expect(tab.plan).to_contain_text("Ends on")
    demo_server.stripe("POST", path, cancel_at_period_end=False)
    demo_server.settle()
    expect(tab.plan).not_to_contain_text("Ends on")
    tab.expect_state("form")
    expect(tab.card_form.get_by_label("Card number")).to_have_value("4242")

    tab.fill_card()
    tab.payment.get_by_role("button", name="Save card").click()
    tab.expect_state("done")
    [setup] = demo_server.list_own("/v1/setup_intents")
    assert setup["status"] == "succeeded"


def test_trial_form_closes_when_card_is_saved_elsewhere(
    session: BrowserSession, demo_server: DemoServer, trials: None
) -> None:
    tab = session.open()
    tab.subscribe_button.click()
    tab.expect_state("form")
    expect(tab.plan).to_contain_text("Trial")
    [setup] = demo_server.list_own("/v1/setup_intents")
    demo_server.call(demo_server.sandbox.confirm_setup, setup["client_secret"])
    demo_server.settle()
    [subscription] = demo_server.list_own("/v1/subscriptions", status="all")
    demo_server.stripe("POST", f"/v1/subscriptions/{subscription['id']}", cancel_at_period_end=True)
    demo_server.settle()
    tab.expect_state("done")
