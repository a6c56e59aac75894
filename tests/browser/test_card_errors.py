"""Test declined and incomplete cards, and cards that require 3-D Secure."""

from playwright.sync_api import expect

from tests.browser.browser_session import BrowserSession
from tests.browser.checkout import AUTHENTICATED_CARD, DECLINED_CARD
from tests.browser.demo_server import DemoServer

PAYMENT_REQUIRED = 402


def test_another_card_pays_after_decline(session: BrowserSession, demo_server: DemoServer) -> None:
    session.monitor.allow_status(PAYMENT_REQUIRED)
    demo_server.subscribe()
    tab = session.open()
    tab.choose(50)
    tab.pay(DECLINED_CARD)
    tab.expect_state("declined")
    expect(tab.alert).to_contain_text("Your card was declined.")
    expect(tab.card_form.get_by_label("Expiration date")).to_have_value("12 / 40")
    assert demo_server.credits() == 0

    tab.fill_card()
    tab.pay_button.click()
    tab.expect_state("done")
    tab.expect_balance(50)
    assert len(demo_server.charges(500)) == 1
    assert len(demo_server.list_own("/v1/payment_intents")) == 2, (
        "one for the plan, and one for both cards"
    )


def test_incomplete_card_is_not_sent_to_stripe(
    session: BrowserSession, demo_server: DemoServer
) -> None:
    demo_server.subscribe()
    tab = session.open()
    tab.choose(50)
    tab.card_form.get_by_label("Card number").fill("4242 4242")
    tab.pay_button.click()
    expect(tab.card_form.get_by_text("Your card number is incomplete.")).to_be_visible()
    expect(tab.pay_button).to_be_enabled()
    confirmed = [path for path in demo_server.stripe_calls() if path.endswith("/confirm")]
    assert len(confirmed) == 0


def test_completed_authentication_adds_credits(
    session: BrowserSession, demo_server: DemoServer
) -> None:
    demo_server.subscribe()
    tab = session.open()
    tab.choose(50)
    tab.pay(AUTHENTICATED_CARD)
    expect(tab.authentication).to_be_visible()
    assert demo_server.credits() == 0
    tab.authenticate("Complete")
    tab.expect_state("done")
    tab.expect_balance(50)
    expect(tab.authentication).to_have_count(0)


def test_another_card_pays_after_failed_authentication(
    session: BrowserSession, demo_server: DemoServer
) -> None:
    demo_server.subscribe()
    tab = session.open()
    tab.choose(50)
    tab.pay(AUTHENTICATED_CARD)
    tab.authenticate("Fail")
    tab.expect_state("declined")
    expect(tab.alert).to_contain_text("authenticat")
    assert demo_server.credits() == 0

    tab.fill_card()
    tab.pay_button.click()
    tab.expect_state("done")
    tab.expect_balance(50)
    assert len(demo_server.charges(500)) == 1


def test_subscription_payment_can_require_authentication(session: BrowserSession) -> None:
    tab = session.open()
    tab.subscribe_button.click()
    tab.pay(AUTHENTICATED_CARD)
    tab.authenticate("Complete")
    expect(tab.buy_button(50)).to_be_enabled()
