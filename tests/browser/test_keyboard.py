"""From the page's top to a finished purchase by the keyboard alone."""

import pytest
from playwright.sync_api import Locator, expect

from tests.browser.checkout import AUTHENTICATED_CARD, Checkout
from tests.browser.demo_server import Town
from tests.browser.visitor import Visitor

_MOST_TABS = 40


def tab_to(tab: Checkout, target: Locator) -> None:
    """Press Tab until the target has the focus."""
    for _ in range(_MOST_TABS):
        tab.page.keyboard.press("Tab")
        if target.evaluate("(element) => element === element.ownerDocument.activeElement"):
            return
    pytest.fail(f"{_MOST_TABS} tabs do not lead to {target}")


def type_card(tab: Checkout, number: str) -> None:
    for label, text in (
        ("Card number", number),
        ("Expiration date", "1240"),
        ("Security code", "123"),
    ):
        field = tab.card_form.get_by_label(label)
        if not field.evaluate("(element) => element === element.ownerDocument.activeElement"):
            tab_to(tab, field)
        tab.page.keyboard.type(text)


def test_a_purchase_by_keyboard(visitor: Visitor, town: Town) -> None:
    town.subscribe()
    tab = visitor.open()
    expect(tab.buy_button(50)).to_be_enabled()
    tab_to(tab, tab.buy_button(50))
    tab.page.keyboard.press("Enter")
    tab.expect_state("form")
    expect(tab.page.get_by_role("heading", name="Pay $5.00 for 50 credits")).to_be_focused()
    tab_to(tab, tab.page.get_by_role("button", name="Back"))
    tab.page.keyboard.press("Enter")
    expect(tab.buy_button(50)).to_be_focused()

    tab.page.keyboard.press("Space")
    tab.expect_state("form")
    type_card(tab, AUTHENTICATED_CARD)
    tab_to(tab, tab.pay_button)
    tab.page.keyboard.press("Enter")
    complete = tab.authentication.locator("iframe").content_frame.get_by_role(
        "button", name="Complete"
    )
    tab_to(tab, complete)
    tab.page.keyboard.press("Enter")
    tab.expect_state("done")
    expect(tab.receipt).to_be_focused()
    tab.expect_balance(50)


def test_the_authentication_keeps_the_focus(visitor: Visitor, town: Town) -> None:
    town.subscribe()
    tab = visitor.open()
    tab.choose(50)
    tab.pay(AUTHENTICATED_CARD)
    expect(tab.authentication).to_be_visible()
    # From a dialog's end the browser itself is next: then nothing of the page has the focus.
    outside = """(dialog) => document.activeElement !== document.body
      && document.activeElement !== dialog.getRootNode().host"""
    for key in ["Tab"] * 6 + ["Shift+Tab"] * 6:
        tab.page.keyboard.press(key)
        assert not tab.authentication.evaluate(outside)


@pytest.mark.parametrize("place", ["the dialog", "the bank's page in it"])
def test_escape_refuses_the_authentication(place: str, visitor: Visitor, town: Town) -> None:
    visitor.watch.allow_status(402)
    town.subscribe()
    tab = visitor.open()
    tab.choose(50)
    tab.pay(AUTHENTICATED_CARD)
    bank = tab.authentication.locator("iframe").content_frame
    expect(bank.get_by_role("button", name="Complete")).to_be_visible()
    button = tab.authentication.get_by_role("button", name="Cancel")
    (button if place == "the dialog" else bank.get_by_role("button", name="Fail")).focus()
    tab.page.keyboard.press("Escape")
    tab.expect_state("declined")
    expect(tab.authentication).to_have_count(0)
    assert town.credits() == 0


def test_a_cancellation_by_keyboard(visitor: Visitor, town: Town) -> None:
    town.subscribe()
    tab = visitor.open()
    cancel = tab.plan.get_by_role("button", name="Cancel subscription")
    expect(cancel).to_be_visible()
    tab_to(tab, cancel)
    tab.page.keyboard.press("Enter")
    dialog = tab.page.get_by_role("dialog")
    expect(dialog).to_be_visible()
    tab.page.keyboard.press("Escape")
    expect(dialog).to_have_count(0)
    expect(cancel).to_be_focused()
