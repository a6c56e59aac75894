"""The checkout page, as a person sees it and as the tests name its parts."""

import re

from playwright.sync_api import FrameLocator, Locator, Page, expect

GOOD_CARD = "4242424242424242"
DECLINED_CARD = "4000000000000002"
AUTHENTICATED_CARD = "4000002760003184"
"""Stripe's test cards, the last of which always asks for 3-D Secure: docs.stripe.com/testing."""

_PAY = re.compile(r"^(Pay|Subscribe)\b")


class Checkout:
    """A tab with the page. Sections are as their ids say."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.main = page.get_by_role("main")
        self.balance = page.locator("#balance")
        self.plan = page.locator("section#plan")
        self.packages = page.locator("section#packages")
        self.payment = page.locator("section#payment")
        self.receipt = page.locator("#receipt")
        self.history = page.locator("section#history")
        self.announcements = page.locator("#announcements")

    # What it shows

    def expect_view(self, view: str) -> None:
        """`loading`, `sign-in`, `error` or `ready`."""
        expect(self.main).to_have_attribute("data-view", view)

    def expect_state(self, state: str) -> None:
        """The payment's state, such as `form`."""
        expect(self.payment).to_have_attribute("data-state", state)

    def expect_balance(self, credits: int) -> None:
        expect(self.balance).to_have_text(f"{credits:,}")

    def buy_button(self, credits: int) -> Locator:
        return self.packages.get_by_role("button", name=f"Buy {credits} credits")

    @property
    def subscribe_button(self) -> Locator:
        return self.plan.get_by_role("button", name="Subscribe for $29.00 a month")

    @property
    def pay_button(self) -> Locator:
        return self.payment.get_by_role("button", name=_PAY)

    @property
    def alert(self) -> Locator:
        return self.payment.get_by_role("alert")

    @property
    def rows(self) -> Locator:
        """The rows of the history, newest first."""
        return self.history.locator("tbody tr")

    # Stripe's part of the page

    @property
    def card_form(self) -> FrameLocator:
        return self.page.frame_locator('iframe[title="Secure payment input frame"]')

    @property
    def authentication(self) -> Locator:
        """The dialog over the page in which a bank asks who is paying."""
        return self.page.get_by_role("dialog", name="3D Secure authentication")

    def authenticate(self, answer: str) -> None:
        """Press "Complete" or "Fail" in it."""
        frame = self.authentication.locator("iframe").content_frame
        frame.get_by_role("button", name=answer).click()

    def fill_in(self, card: str = GOOD_CARD) -> None:
        """Type a card into Stripe's form."""
        self.look()
        self.card_form.get_by_label("Card number").fill(card)
        self.card_form.get_by_label("Expiration date").fill("12/40")
        self.card_form.get_by_label("Security code").fill("123")

    # What one does with it

    def look(self) -> None:
        """Bring the tab to the front: a browser draws another one every few seconds only."""
        self.page.bring_to_front()

    def choose(self, credits: int) -> None:
        """Choose a package, up to the form."""
        self.look()
        self.buy_button(credits).click()
        self.expect_state("form")

    def pay(self, card: str = GOOD_CARD) -> None:
        """Fill the open form in and press its button."""
        self.expect_state("form")
        self.fill_in(card)
        self.pay_button.click()

    def buy(self, credits: int) -> None:
        """Buy a package by a good card, to the end."""
        self.choose(credits)
        self.pay()
        self.expect_state("done")

    def subscribe(self) -> None:
        """Subscribe by a good card, until credits can be bought."""
        self.subscribe_button.click()
        self.pay()
        expect(self.buy_button(50)).to_be_enabled()
