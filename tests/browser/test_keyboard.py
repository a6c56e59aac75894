"""Test purchases and cancellations with the keyboard alone."""

import pytest
from playwright.sync_api import Locator, expect

from tests.browser.browser_session import BrowserSession
from tests.browser.checkout import AUTHENTICATED_CARD, Checkout
from tests.browser.demo_server import DemoServer

_MAX_TABS = 40


def tab_to(tab: Checkout, target: Locator) -> None:
    """Press Tab until the target has the focus."""
    for _ in range(_MAX_TABS):
        tab.page.keyboard.press("Tab")
        if target.evaluate("(element) => element === element.ownerDocument.activeElement"):
            return
    pytest.fail(f"{_MAX_TABS} presses of Tab do not reach {target}")


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


def test_keyboard_completes_purchase(session: BrowserSession, demo_server: DemoServer) -> None:
    demo_server.subscribe()
    tab = session.open()
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


def test_tab_stays_within_authentication_dialog(
    session: BrowserSession, demo_server: DemoServer
) -> None:
    demo_server.subscribe()
    tab = session.open()
    tab.choose(50)
    tab.pay(AUTHENTICATED_CARD)
    expect(tab.authentication).to_be_visible()
    # After the last element of the dialog, Tab moves to the browser's own controls. The body is
    # the active element then.
    outside = """(dialog) => document.activeElement !== document.body
      && document.activeElement !== dialog.getRootNode().host"""
    for key in ["Tab"] * 6 + ["Shift+Tab"] * 6:
        tab.page.keyboard.press(key)
        assert not tab.authentication.evaluate(outside)


@pytest.mark.parametrize("place", ["the dialog", "the bank's page in it"])
def test_escape_cancels_authentication(
    place: str, session: BrowserSession, demo_server: DemoServer
) -> None:
    session.monitor.allow_status(402)
    demo_server.subscribe()
    tab = session.open()
    tab.choose(50)
    tab.pay(AUTHENTICATED_CARD)
    bank = tab.authentication.locator("iframe").content_frame
    expect(bank.get_by_role("button", name="Complete")).to_be_visible()
    button = tab.authentication.get_by_role("button", name="Cancel")
    (button if place == "the dialog" else bank.get_by_role("button", name="Fail")).focus()
    tab.page.keyboard.press("Escape")
    tab.expect_state("declined")
    expect(tab.authentication).to_have_count(0)
    assert demo_server.credits() == 0


def test_escape_closes_cancel_dialog_and_restores_focus(
    session: BrowserSession, demo_server: DemoServer
) -> None:
    demo_server.subscribe()
    tab = session.open()
    cancel = tab.plan.get_by_role("button", name="Cancel subscription")
    expect(cancel).to_be_visible()
    tab_to(tab, cancel)
    tab.page.keyboard.press("Enter")
    dialog = tab.page.get_by_role("dialog")
    expect(dialog).to_be_visible()
    tab.page.keyboard.press("Escape")
    expect(dialog).to_have_count(0)
    expect(cancel).to_be_focused()
