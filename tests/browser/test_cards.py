"""Cards that are refused, and cards whose bank asks who is paying."""

from playwright.sync_api import expect

from tests.browser.checkout import AUTHENTICATED_CARD, DECLINED_CARD
from tests.browser.demo_server import Town
from tests.browser.visitor import Visitor

PAYMENT_REQUIRED = 402


def test_after_a_decline_another_card_pays(visitor: Visitor, town: Town) -> None:
    visitor.watch.allow_status(PAYMENT_REQUIRED)
    town.subscribe()
    tab = visitor.open()
    tab.choose(50)
    tab.pay(DECLINED_CARD)
    tab.expect_state("declined")
    expect(tab.alert).to_contain_text("Your card was declined.")
    expect(tab.card_form.get_by_label("Expiration date")).to_have_value("12 / 40")
    assert town.credits() == 0

    tab.fill_in()
    tab.pay_button.click()
    tab.expect_state("done")
    tab.expect_balance(50)
    assert len(town.charges(500)) == 1
    assert len(town.listed("/v1/payment_intents")) == 2, "the plan's, and one for both cards"


def test_a_card_that_is_not_complete_is_not_sent(visitor: Visitor, town: Town) -> None:
    town.subscribe()
    tab = visitor.open()
    tab.choose(50)
    tab.card_form.get_by_label("Card number").fill("4242 4242")
    tab.pay_button.click()
    expect(tab.card_form.get_by_text("Your card number is incomplete.")).to_be_visible()
    expect(tab.pay_button).to_be_enabled()
    confirmed = [call for call in town.sandbox.api.calls if call.path.endswith("/confirm")]
    assert len(confirmed) == 0


def test_the_bank_says_yes(visitor: Visitor, town: Town) -> None:
    town.subscribe()
    tab = visitor.open()
    tab.choose(50)
    tab.pay(AUTHENTICATED_CARD)
    expect(tab.authentication).to_be_visible()
    assert town.credits() == 0
    tab.authenticate("Complete")
    tab.expect_state("done")
    tab.expect_balance(50)
    expect(tab.authentication).to_have_count(0)


def test_the_bank_says_no_and_another_card_pays(visitor: Visitor, town: Town) -> None:
    town.subscribe()
    tab = visitor.open()
    tab.choose(50)
    tab.pay(AUTHENTICATED_CARD)
    tab.authenticate("Fail")
    tab.expect_state("declined")
    expect(tab.alert).to_contain_text("authenticat")
    assert town.credits() == 0

    tab.fill_in()
    tab.pay_button.click()
    tab.expect_state("done")
    tab.expect_balance(50)
    assert len(town.charges(500)) == 1


def test_a_subscription_s_bank_asks_too(visitor: Visitor) -> None:
    tab = visitor.open()
    tab.subscribe_button.click()
    tab.pay(AUTHENTICATED_CARD)
    tab.authenticate("Complete")
    expect(tab.buy_button(50)).to_be_enabled()
