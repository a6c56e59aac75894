"""More than one tab, more than one account, and a tab that is loaded again."""

from collections.abc import Callable
from datetime import timedelta
from urllib.parse import urlencode

import pytest
from playwright.sync_api import expect

from datalayer_stripe.billing import open_payment_intents
from tests.browser.checkout import Checkout
from tests.browser.demo_server import Town
from tests.browser.visitor import Visitor


def test_two_tabs_pay_for_one_package_once(visitor: Visitor, town: Town) -> None:
    town.subscribe()
    first, second = visitor.open(), visitor.open()
    first.choose(50)
    second.choose(50)
    first.fill_in()
    second.fill_in()
    first.pay_button.click()
    first.expect_state("done")
    second.expect_state("done")
    first.expect_balance(50)
    second.expect_balance(50)
    assert len(town.charges(500)) == 1


def test_two_tabs_that_pay_at_the_same_moment_pay_once(visitor: Visitor, town: Town) -> None:
    """The second tab hears of nothing until it has pressed its button."""
    # Where Stripe has been paid already, its answer to the second tab is a 400.
    visitor.watch.allow_status(400)
    town.subscribe()
    first, second = visitor.open(), visitor.open()
    second.page.route("**/stream", lambda route: route.abort())
    visitor.watch.allow("net::ERR_FAILED .*/stream")
    first.choose(50)
    second.choose(50)
    first.fill_in()
    second.fill_in()
    town.hold_webhooks()
    first.pay_button.click()
    second.pay_button.click()
    first.expect_state("done")
    second.expect_state("done")
    town.release_webhooks()
    first.expect_balance(50)
    second.expect_balance(50)
    assert len(town.charges(500)) == 1


def replaced(visitor: Visitor, monkeypatch: pytest.MonkeyPatch) -> tuple[Checkout, Checkout]:
    """Two tabs for one package: a form that has been open for too long, and its successor."""
    old, new = visitor.open(), visitor.open()
    old.choose(50)
    old.fill_in()
    with monkeypatch.context() as later:
        later.setattr(open_payment_intents, "REUSE_PERIOD", timedelta(milliseconds=10))
        new.choose(50)
    return old, new


def test_an_old_tab_is_told_that_its_form_is_out_of_date(
    visitor: Visitor, town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Stripe answers so to who pays what was cancelled.
    visitor.watch.allow_status(400)
    town.subscribe()
    old, new = replaced(visitor, monkeypatch)
    old.look()
    old.pay_button.click()
    old.expect_state("error")
    expect(old.alert).to_contain_text("Nothing was charged here.")
    assert not town.charges(500)
    old.payment.get_by_role("button", name="Try again").click()
    old.pay()
    old.expect_state("done")
    new.expect_state("done")
    assert len(town.charges(500)) == 1


def test_an_old_tab_is_told_as_soon_as_the_newer_one_has_paid(
    visitor: Visitor, town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    town.subscribe()
    old, new = replaced(visitor, monkeypatch)
    new.pay()
    new.expect_state("done")
    old.expect_state("error")
    expect(old.alert).to_contain_text("Nothing was charged here.")
    old.expect_balance(50)
    assert len(town.charges(500)) == 1


# As a browser does with a tab that another one covers.
_LOOK_AWAY = """
(hidden) => {
  Object.defineProperty(document, "hidden", { value: hidden, configurable: true });
  document.dispatchEvent(new Event("visibilitychange"));
}
"""


def test_a_tab_that_is_not_looked_at_takes_no_connection(visitor: Visitor, town: Town) -> None:
    town.subscribe()
    tabs = [visitor.open() for _ in range(3)]
    for tab in tabs:
        tab.expect_balance(0)
    town.streams_become(3)
    for tab in tabs[1:]:
        tab.page.evaluate(_LOOK_AWAY, True)
    town.streams_become(1)
    town.buy()
    tabs[0].expect_balance(50)
    tabs[1].expect_balance(0)
    tabs[1].page.evaluate(_LOOK_AWAY, False)
    tabs[1].expect_balance(50)
    town.streams_become(2)


def test_a_form_is_there_again_after_a_reload(visitor: Visitor, town: Town) -> None:
    town.subscribe()
    tab = visitor.open()
    tab.choose(220)
    tab.page.reload()
    tab.expect_state("form")
    expect(tab.payment).to_contain_text("Your payment was not finished. Nothing was charged.")
    tab.pay()
    tab.expect_state("done")
    tab.expect_balance(220)
    assert len(town.charges(2000)) == 1


def test_a_reload_while_the_credits_are_on_their_way(visitor: Visitor, town: Town) -> None:
    town.subscribe()
    tab = visitor.open()
    tab.choose(50)
    # The page is told nothing of its payment, so that it stays waiting.
    tab.page.route("**/topup/payment-intent/*", lambda route: route.abort())
    visitor.watch.allow("net::ERR_FAILED .*/topup/payment-intent/")
    town.hold_webhooks()
    tab.pay()
    tab.expect_state("waiting")
    tab.page.unroute("**/topup/payment-intent/*")
    tab.page.reload()
    expect(tab.receipt).to_contain_text("50 credits added.")
    tab.expect_balance(50)
    town.release_webhooks()
    assert len(town.charges(500)) == 1
    assert town.credits() == 50


def test_after_a_bank_s_redirect_the_address_is_clean(visitor: Visitor, town: Town) -> None:
    """Some payments leave the page: Stripe leads back to it with a client secret in the address."""
    visitor.watch.allow(r"a secret in a URL: \S+[?&]payment_intent_client_secret=")
    town.subscribe()
    intent = town.buy()
    returned = urlencode(
        {
            "payment_intent": intent,
            "payment_intent_client_secret": f"{intent}_secret_example",
            "redirect_status": "succeeded",
            "kept": "yes",
        }
    )
    tab = visitor.open(f"{visitor.checkout_url}?{returned}")
    expect(tab.receipt).to_contain_text("50 credits added.")
    expect(tab.page).to_have_url(f"{visitor.checkout_url}?kept=yes")
    tab.expect_balance(50)


def test_an_account_sees_nothing_of_another_s(
    visitor: Visitor, new_visitor: Callable[..., Visitor], town: Town
) -> None:
    town.subscribe()
    town.subscribe("ada")
    town.buy(2, "ada")
    ours, theirs = visitor.open(), new_visitor(token=town.token("ada")).open()
    theirs.expect_balance(600)
    expect(theirs.rows).to_have_count(1)
    ours.buy(50)
    ours.expect_balance(50)
    expect(ours.rows).to_have_count(1)
    theirs.expect_balance(600)
    expect(theirs.rows).to_have_count(1)
    expect(theirs.main).to_contain_text("ada")
    expect(ours.main).not_to_contain_text("ada")


def test_a_payment_is_not_taken_over_by_the_next_account(visitor: Visitor, town: Town) -> None:
    """What one person has left unfinished is not the next one's who signs in in that tab."""
    town.subscribe()
    town.subscribe("ada")
    tab = visitor.open()
    tab.choose(50)
    visitor.sign_in(town.token("ada"))
    expect(tab.main).to_contain_text("ada")
    tab.page.reload()
    tab.expect_view("ready")
    expect(tab.main).to_contain_text("ada")
    expect(tab.card_form.get_by_label("Card number")).to_have_count(0)
    expect(tab.buy_button(50)).to_be_enabled()
