"""axe-core finds nothing serious in any state, in light and in dark, on a desk and on a phone."""

import re
from collections.abc import Callable

import pytest
from playwright.sync_api import Page, expect

from tests.browser.accessibility import grave_faults
from tests.browser.checkout import AUTHENTICATED_CARD, DECLINED_CARD
from tests.browser.demo_server import Town
from tests.browser.visitor import PHONE, Visitor, screenshot

LOOKS = {
    "desktop": {},
    "desktop-dark": {"color_scheme": "dark"},
    "phone": PHONE,
    "phone-dark": {**PHONE, "color_scheme": "dark"},
}


@pytest.fixture(params=LOOKS)
def look(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def check(look: str) -> Callable[[Page, str], None]:
    """Keep a picture of a state, and let axe-core look at it."""

    def check(page: Page, state: str) -> None:
        screenshot(page, f"{state}-{look}")
        assert grave_faults(page) == []

    return check


def test_the_checkout_page(
    look: str,
    check: Callable[[Page, str], None],
    new_visitor: Callable[..., Visitor],
    town: Town,
) -> None:
    # The page comes to rest at once, so that no colour is looked at on its way.
    visitor = new_visitor(reduced_motion="reduce", token=None, **LOOKS[look])
    visitor.watch.allow_status(402)
    tab = visitor.open()
    tab.expect_view("sign-in")
    check(tab.page, "signed-out")

    visitor.sign_in(town.token())
    tab.expect_view("ready")
    expect(tab.subscribe_button).to_be_visible()
    expect(tab.history).to_contain_text("No purchases yet.")
    check(tab.page, "no-plan")

    town.subscribe()
    tab.choose(50)
    check(tab.page, "form")

    tab.pay(DECLINED_CARD)
    tab.expect_state("declined")
    check(tab.page, "declined")

    tab.fill_in(AUTHENTICATED_CARD)
    tab.pay_button.click()
    expect(tab.authentication).to_be_visible()
    expect(
        tab.authentication.locator("iframe").content_frame.get_by_role("button", name="Complete")
    ).to_be_visible()
    check(tab.page, "authentication")

    tab.authenticate("Complete")
    tab.expect_state("done")
    expect(tab.rows).to_have_count(1)
    check(tab.page, "done")

    tab.plan.get_by_role("button", name="Cancel subscription").click()
    expect(tab.page.get_by_role("dialog")).to_be_visible()
    check(tab.page, "cancel")


@pytest.mark.parametrize("look", ["desktop", "phone-dark"], indirect=True)
def test_stripes_side(
    look: str,
    check: Callable[[Page, str], None],
    new_visitor: Callable[..., Visitor],
    town: Town,
) -> None:
    town.subscribe()
    town.buy()
    visitor = new_visitor(reduced_motion="reduce", **LOOKS[look])
    panel = visitor.open(town.stage.panel_url).page
    expect(panel.get_by_text("payment_intent.succeeded").first).to_be_visible()
    check(panel, "panel")

    tab = visitor.open()
    tab.plan.get_by_role("button", name="Manage billing").click()
    tab.page.wait_for_url(re.compile("/sandbox/portal/"))
    check(tab.page, "portal")

    [charge] = town.charges(500)
    tab.page.goto(charge["receipt_url"])
    check(tab.page, "receipt")
