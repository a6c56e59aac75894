"""Page object of the checkout page."""

import re

from playwright.sync_api import FrameLocator, Locator, Page, expect

VALID_CARD = "4242424242424242"
DECLINED_CARD = "4000000000000002"
AUTHENTICATED_CARD = "4000002760003184"
"""Stripe's test cards. The last one always requires 3-D Secure: https://docs.stripe.com/testing"""

_PAY = re.compile(r"^(Pay|Subscribe)\b")


class Checkout:
    """A tab with the checkout page. The attributes are named after the ids of the sections."""

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

    # Contents

    def expect_view(self, view: str) -> None:
        """Wait until the page shows `loading`, `sign-in`, `error` or `ready`."""
        expect(self.main).to_have_attribute("data-view", view)

    def expect_state(self, state: str) -> None:
        """Wait until the payment has a state, such as `form`."""
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

    # Parts that Stripe.js adds

    @property
    def card_form(self) -> FrameLocator:
        return self.page.frame_locator('iframe[title="Secure payment input frame"]')

    @property
    def authentication(self) -> Locator:
        """The 3-D Secure dialog of the bank."""
        return self.page.get_by_role("dialog", name="3D Secure authentication")

    def authenticate(self, answer: str) -> None:
        """Click "Complete" or "Fail" in the 3-D Secure dialog."""
        frame = self.authentication.locator("iframe").content_frame
        frame.get_by_role("button", name=answer).click()

    def fill_card(self, card: str = VALID_CARD) -> None:
        """Enter a card into Stripe's form."""
        self.bring_to_front()
        self.card_form.get_by_label("Card number").fill(card)
        self.card_form.get_by_label("Expiration date").fill("12/40")
        self.card_form.get_by_label("Security code").fill("123")

    # Actions

    def bring_to_front(self) -> None:
        """Bring the tab to the front. A browser renders hidden tabs only every few seconds."""
        self.page.bring_to_front()

    def choose(self, credits: int) -> None:
        """Choose a package, and wait for the form."""
        self.bring_to_front()
        self.buy_button(credits).click()
        self.expect_state("form")

    def pay(self, card: str = VALID_CARD) -> None:
        """Enter a card into the open form and submit it."""
        self.expect_state("form")
        self.fill_card(card)
        self.pay_button.click()

    def buy(self, credits: int) -> None:
        """Buy a package with a valid card, and wait until the credits are added."""
        self.choose(credits)
        self.pay()
        self.expect_state("done")

    def subscribe(self) -> None:
        """Subscribe with a valid card, and wait until credits can be bought."""
        self.subscribe_button.click()
        self.pay()
        expect(self.buy_button(50)).to_be_enabled()
