"""Test several tabs, several accounts, and reloads."""

from collections.abc import Callable
from datetime import timedelta
from urllib.parse import urlencode

import pytest
from playwright.sync_api import expect

from datalayer_stripe.billing import open_payment_intents
from tests.browser.browser_session import BrowserSession
from tests.browser.checkout import Checkout
from tests.browser.demo_server import DemoServer


def test_two_tabs_with_same_package_charge_once(
    session: BrowserSession, demo_server: DemoServer
) -> None:
    demo_server.subscribe()
    first, second = session.open(), session.open()
    first.choose(50)
    second.choose(50)
    first.fill_card()
    second.fill_card()
    first.pay_button.click()
    first.expect_state("done")
    second.expect_state("done")
    first.expect_balance(50)
    second.expect_balance(50)
    assert len(demo_server.charges(500)) == 1


def test_simultaneous_payments_in_two_tabs_charge_once(
    session: BrowserSession, demo_server: DemoServer
) -> None:
    """The second tab has no stream, so it does not see the first payment before it pays."""
    # Stripe responds to the second tab with a 400 if the payment is already made.
    session.monitor.allow_status(400)
    demo_server.subscribe()
    first, second = session.open(), session.open()
    second.page.route("**/stream", lambda route: route.abort())
    session.monitor.allow("net::ERR_FAILED .*/stream")
    first.choose(50)
    second.choose(50)
    first.fill_card()
    second.fill_card()
    demo_server.hold_webhooks()
    first.pay_button.click()
    second.pay_button.click()
    first.expect_state("done")
    second.expect_state("done")
    demo_server.release_webhooks()
    first.expect_balance(50)
    second.expect_balance(50)
    assert len(demo_server.charges(500)) == 1


def open_replaced_form(
    session: BrowserSession, monkeypatch: pytest.MonkeyPatch
) -> tuple[Checkout, Checkout]:
    """Open two tabs for one package: an expired form, and the one that replaced it."""
    old, new = session.open(), session.open()
    old.choose(50)
    old.fill_card()
    with monkeypatch.context() as later:
        later.setattr(open_payment_intents, "REUSE_PERIOD", timedelta(milliseconds=10))
        new.choose(50)
    return old, new


def test_replaced_form_charges_nothing(
    session: BrowserSession, demo_server: DemoServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Stripe responds with a 400 to the payment of a cancelled PaymentIntent.
    session.monitor.allow_status(400)
    demo_server.subscribe()
    old, new = open_replaced_form(session, monkeypatch)
    old.bring_to_front()
    old.pay_button.click()
    old.expect_state("error")
    expect(old.alert).to_contain_text("Nothing was charged here.")
    assert not demo_server.charges(500)
    old.payment.get_by_role("button", name="Try again").click()
    old.pay()
    old.expect_state("done")
    new.expect_state("done")
    assert len(demo_server.charges(500)) == 1


def test_replaced_form_closes_when_newer_form_is_paid(
    session: BrowserSession, demo_server: DemoServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    demo_server.subscribe()
    old, new = open_replaced_form(session, monkeypatch)
    new.pay()
    new.expect_state("done")
    old.expect_state("error")
    expect(old.alert).to_contain_text("Nothing was charged here.")
    old.expect_balance(50)
    assert len(demo_server.charges(500)) == 1


# Does what a browser does when another tab covers this one.
_SET_HIDDEN = """
(hidden) => {
  Object.defineProperty(document, "hidden", { value: hidden, configurable: true });
  document.dispatchEvent(new Event("visibilitychange"));
}
"""


def test_hidden_tab_closes_its_stream(session: BrowserSession, demo_server: DemoServer) -> None:
    demo_server.subscribe()
    tabs = [session.open() for _ in range(3)]
    for tab in tabs:
        tab.expect_balance(0)
    demo_server.wait_for_streams(3)
    for tab in tabs[1:]:
        tab.page.evaluate(_SET_HIDDEN, True)
    demo_server.wait_for_streams(1)
    demo_server.buy()
    tabs[0].expect_balance(50)
    tabs[1].expect_balance(0)
    tabs[1].page.evaluate(_SET_HIDDEN, False)
    tabs[1].expect_balance(50)
    demo_server.wait_for_streams(2)


def test_form_is_restored_after_reload(session: BrowserSession, demo_server: DemoServer) -> None:
    demo_server.subscribe()
    tab = session.open()
    tab.choose(220)
    tab.page.reload()
    tab.expect_state("form")
    expect(tab.payment).to_contain_text("Your payment was not finished. Nothing was charged.")
    tab.pay()
    tab.expect_state("done")
    tab.expect_balance(220)
    assert len(demo_server.charges(2000)) == 1


def test_reload_while_waiting_for_credits_shows_receipt(
    session: BrowserSession, demo_server: DemoServer
) -> None:
    demo_server.subscribe()
    tab = session.open()
    tab.choose(50)
    # Block the state of the payment, so that the page keeps waiting.
    tab.page.route("**/topup/payment-intent/*", lambda route: route.abort())
    session.monitor.allow("net::ERR_FAILED .*/topup/payment-intent/")
    demo_server.hold_webhooks()
    tab.pay()
    tab.expect_state("waiting")
    tab.page.unroute("**/topup/payment-intent/*")
    tab.page.reload()
    expect(tab.receipt).to_contain_text("50 credits added.")
    tab.expect_balance(50)
    demo_server.release_webhooks()
    assert len(demo_server.charges(500)) == 1
    assert demo_server.credits() == 50


def test_secret_is_removed_from_url_after_redirect(
    session: BrowserSession, demo_server: DemoServer
) -> None:
    """Stripe redirects back to the page with a client secret in the URL."""
    session.monitor.allow(r"secret in a URL: \S+[?&]payment_intent_client_secret=")
    demo_server.subscribe()
    intent = demo_server.buy()
    returned = urlencode(
        {
            "payment_intent": intent,
            "payment_intent_client_secret": f"{intent}_secret_example",
            "redirect_status": "succeeded",
            "kept": "yes",
        }
    )
    tab = session.open(f"{session.checkout_url}?{returned}")
    expect(tab.receipt).to_contain_text("50 credits added.")
    expect(tab.page).to_have_url(f"{session.checkout_url}?kept=yes")
    tab.expect_balance(50)


def test_account_sees_no_data_of_another(
    session: BrowserSession, new_session: Callable[..., BrowserSession], demo_server: DemoServer
) -> None:
    demo_server.subscribe()
    other = f"{demo_server.account}-ada"
    demo_server.subscribe(other)
    demo_server.buy(2, other)
    ours, theirs = session.open(), new_session(token=demo_server.token(other)).open()
    theirs.expect_balance(600)
    expect(theirs.rows).to_have_count(1)
    ours.buy(50)
    ours.expect_balance(50)
    expect(ours.rows).to_have_count(1)
    theirs.expect_balance(600)
    expect(theirs.rows).to_have_count(1)
    expect(theirs.main).to_contain_text("ada")
    expect(ours.main).not_to_contain_text("ada")


def test_pending_payment_is_not_shown_to_next_account(
    session: BrowserSession, demo_server: DemoServer
) -> None:
    """Another account signs in in the same tab."""
    demo_server.subscribe()
    other = f"{demo_server.account}-ada"
    demo_server.subscribe(other)
    tab = session.open()
    tab.choose(50)
    session.sign_in(demo_server.token(other))
    expect(tab.main).to_contain_text("ada")
    tab.page.reload()
    tab.expect_view("ready")
    expect(tab.main).to_contain_text("ada")
    expect(tab.card_form.get_by_label("Card number")).to_have_count(0)
    expect(tab.buy_button(50)).to_be_enabled()
