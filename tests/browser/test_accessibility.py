"""Test with axe-core that no state of a page has a serious accessibility violation."""

import re
from collections.abc import Callable

import pytest
from playwright.sync_api import Page, expect

from tests.browser.accessibility import serious_violations
from tests.browser.browser_session import PHONE, BrowserSession, save_screenshot
from tests.browser.checkout import AUTHENTICATED_CARD, DECLINED_CARD
from tests.browser.demo_server import DemoServer

VARIANTS = {
    "desktop": {},
    "desktop-dark": {"color_scheme": "dark"},
    "phone": PHONE,
    "phone-dark": {**PHONE, "color_scheme": "dark"},
}


# Each size and each colour scheme; `make test-faults` has all combinations.
SHORT = ("desktop", "phone-dark")
PARAMS = [pytest.param(one, marks=() if one in SHORT else pytest.mark.faults) for one in VARIANTS]


@pytest.fixture(params=PARAMS)
def variant(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def check(variant: str) -> Callable[[Page, str], None]:
    """Return a function that saves a screenshot of a state and checks the page with axe-core."""

    def check(page: Page, state: str) -> None:
        save_screenshot(page, f"{state}-{variant}")
        assert serious_violations(page) == []

    return check


def test_checkout_page_is_accessible_in_every_state(
    variant: str,
    check: Callable[[Page, str], None],
    new_session: Callable[..., BrowserSession],
    demo_server: DemoServer,
) -> None:
    # Without animations, axe-core does not measure a colour in the middle of a transition.
    session = new_session(reduced_motion="reduce", token=None, **VARIANTS[variant])
    session.monitor.allow_status(402)
    tab = session.open()
    tab.expect_view("sign-in")
    check(tab.page, "signed-out")

    session.sign_in(demo_server.token())
    tab.expect_view("ready")
    expect(tab.subscribe_button).to_be_visible()
    expect(tab.history).to_contain_text("No purchases yet.")
    check(tab.page, "no-plan")

    demo_server.subscribe()
    tab.choose(50)
    check(tab.page, "form")

    tab.pay(DECLINED_CARD)
    tab.expect_state("declined")
    check(tab.page, "declined")

    tab.fill_card(AUTHENTICATED_CARD)
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


@pytest.mark.usefixtures("own_demo")
@pytest.mark.parametrize("variant", SHORT, indirect=True)
def test_sandbox_pages_are_accessible(
    variant: str,
    check: Callable[[Page, str], None],
    new_session: Callable[..., BrowserSession],
    demo_server: DemoServer,
) -> None:
    demo_server.subscribe()
    demo_server.buy()
    session = new_session(reduced_motion="reduce", **VARIANTS[variant])
    panel = session.open(demo_server.environment.panel_url).page
    expect(panel.get_by_text("payment_intent.succeeded").first).to_be_visible()
    check(panel, "panel")

    tab = session.open()
    tab.plan.get_by_role("button", name="Manage billing").click()
    tab.page.wait_for_url(re.compile("/sandbox/portal/"))
    check(tab.page, "portal")

    [charge] = demo_server.charges(500)
    tab.page.goto(charge["receipt_url"])
    check(tab.page, "receipt")
