"""Test the operator's page: what it shows, replays, refuses, and that everybody can use it."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from playwright.sync_api import Route, expect

from tests.browser.accessibility import violations
from tests.browser.browser_session import DESKTOP, PHONE, BrowserSession, save_screenshot
from tests.browser.demo_server import DemoServer
from tests.browser.operator_page import ADVICE, OperatorPage, subscribe_by_hand

NewSession = Callable[..., BrowserSession]


@pytest.fixture
def operator(new_session: NewSession, demo_server: DemoServer) -> BrowserSession:
    """A browser context that is signed in as an operator."""
    return new_session(token=demo_server.operator_token())


@pytest.mark.usefixtures("own_demo")
def test_overview_shows_sales_charts_and_what_is_open(
    operator: BrowserSession, demo_server: DemoServer
) -> None:
    tab = OperatorPage(operator, demo_server)
    tab.expect_loaded()
    expect(tab.page.get_by_text("Test mode: no real money")).to_be_visible()
    expect(tab.main).to_contain_text("Nothing was sold or taken back in the last 30 days.")
    expect(tab.main).to_contain_text("No event is waiting for you.")

    demo_server.subscribe()
    payment = demo_server.buy(1)
    demo_server.buy(0)
    demo_server.stripe("POST", "/v1/refunds", payment_intent=payment, amount=1000)
    subscribe_by_hand(demo_server)
    tab.page.reload()
    expect(tab.tile("Credits sold")).to_contain_text("2702 payments, $25.00")
    expect(tab.tile("Credits taken back")).to_contain_text("1101 refund or dispute, $10.00")
    chart = tab.page.get_by_role("img", name="Credits sold and taken back")
    expect(chart).to_have_accessible_name(
        "Credits sold and taken back, by day: Sold 270, Taken back 110."
    )
    # Chart.js sets the size of the canvas when it draws.
    expect(chart).to_have_attribute("height", "256")
    tab.page.get_by_text("Show as a table").first.click()
    rows = tab.page.get_by_role("table", name="Credits sold and taken back").get_by_role("row")
    today = f"{datetime.now(UTC):%-d %b %Y}".replace("Sep ", "Sept ")
    expect(rows).to_have_text(["DaySoldTaken back", f"{today}270110"])

    tab.page.get_by_role("link", name="7 days").click()
    expect(tab.page).to_have_url(f"{tab.url}#/?days=7")
    tab.expect_loaded()
    expect(tab.page.get_by_role("link", name="7 days")).to_have_attribute("aria-current", "true")
    tab.tile("Rejected events").get_by_role("link").click()
    expect(tab.events.first).to_contain_text("no account for subscription")
    tab.page.go_back()
    tab.page.go_back()
    expect(tab.page.get_by_role("link", name="30 days")).to_have_attribute("aria-current", "true")


def test_advice_on_a_payment_names_the_options_that_its_metadata_lack(
    operator: BrowserSession, demo_server: DemoServer
) -> None:
    tab = OperatorPage(operator, demo_server, "#/events")
    tab.expect_loaded()
    options = {
        "metadata lacks credits": " --credits N",
        "metadata lacks account_uid": " --account UID",
        "metadata lacks account_uid, credits": " --account UID --credits N",
        "not a valid top-up: credits": " --credits N",
        "metadata lacks price_id": "",
        "paid by cus_1, not by the customer of this account": "",
    }
    commands = tab.page.evaluate(
        """async ([path, reasons]) => {
            const { adviceFor } = await import(path);
            const event = (error) => ({ id: "evt_1", rejected: ["p"], handlers: { p: { error } } });
            return reasons.map((reason) => adviceFor(event(reason)).command);
        }""",
        [f"{tab.url}/files/admin/advice.js", list(options)],
    )
    accept = 'datalayer-stripe events accept evt_1 --reason "…"'
    assert commands == [accept + more for more in options.values()]


def test_rejected_event_is_explained_and_replayed_once_by_keyboard(
    operator: BrowserSession, demo_server: DemoServer
) -> None:
    subscription = subscribe_by_hand(demo_server)
    tab = OperatorPage(operator, demo_server, "#/events?status=rejected")
    event = tab.events.filter(has_text=subscription).first
    expect(event).to_contain_text("no account for subscription")
    expect(event).to_contain_text("What to do: The subscription was created by hand")
    expect(event).to_contain_text(ADVICE)
    event_id = str(event.get_attribute("id"))
    replays: list[str] = []
    tab.page.on("request", lambda sent: replays.append(sent.url) if sent.method == "POST" else None)

    replay = tab.page.get_by_role("button", name=f"Replay {event_id}")
    replay.focus()
    tab.page.keyboard.press("Enter")
    expect(tab.dialog).to_contain_text(event_id)
    expect(tab.dialog.get_by_role("button", name="Cancel")).to_be_focused()
    tab.page.keyboard.press("Escape")
    expect(tab.dialog).to_have_count(0)
    expect(replay).to_be_focused()
    assert replays == []

    # The operator does what the page says.
    demo_server.stripe(
        "POST", f"/v1/subscriptions/{subscription}", metadata={"account_uid": demo_server.account}
    )
    demo_server.settle()
    demo_server.call(demo_server.sandbox.api.delay, 0.3, 1, f"/v1/subscriptions/{subscription}")
    tab.page.keyboard.press("Enter")
    tab.dialog.get_by_role("button", name="Replay it").dblclick()
    result = tab.page.locator(f"#{event_id} .result")
    expect(result).to_have_text("Replayed. Every plugin has finished it.")
    expect(result).to_be_focused()
    expect(tab.page.locator("#announcements")).to_have_text(
        "Replayed. Every plugin has finished it."
    )
    shown = tab.page.locator(f"#{event_id}")
    expect(shown.locator(".badge")).to_have_text("Done")
    expect(shown.get_by_role("button")).to_have_count(0)
    assert len(replays) == 1
    stored = demo_server.call(demo_server.environment.service.store.events.get, event_id)
    assert {run.status for run in stored.handlers.values()} == {"done"}


@pytest.mark.usefixtures("unlimited")
def test_search_leads_to_whole_story_of_account(
    operator: BrowserSession, demo_server: DemoServer
) -> None:
    account = demo_server.account
    demo_server.subscribe()
    for _ in range(11):
        demo_server.buy()
    tab = OperatorPage(operator, demo_server)
    tab.section("Accounts").click()
    expect(tab.heading).to_be_focused()
    tab.page.get_by_label("Account, user name or Stripe customer").fill(account)
    tab.page.get_by_role("button", name="Search").click()
    tab.page.get_by_role("link", name=account, exact=True).click()
    expect(tab.page).to_have_url(f"{tab.url}#/accounts/{account}")
    expect(tab.heading).to_have_text(account)
    expect(tab.page.locator(".facts")).to_contain_text(f"Credits{11 * 50}")
    expect(tab.page.locator(".facts")).to_contain_text(f"{account}@example.com")
    subscriptions = tab.page.get_by_role("table", name="Subscriptions").locator("tbody tr")
    expect(subscriptions).to_contain_text(["Active"])
    for name in ("Payments", "Ledger"):
        rows = tab.page.get_by_role("table", name=name).locator("tbody tr")
        expect(rows).to_have_count(10)
        tab.page.get_by_role("region", name=name).get_by_role("button", name="Show more").click()
        expect(rows).to_have_count(11)
    expect(tab.events.first).to_contain_text("payment_intent.succeeded")

    tab.page.go_back()
    expect(tab.page.get_by_label("Account, user name or Stripe customer")).to_have_value(account)
    operator.monitor.allow_status(404)
    tab.show("#/accounts/nobody")
    expect(tab.main).to_contain_text("Nothing is known of the account nobody.")


def test_checks_show_findings_with_advice_and_unknown_views_say_so(
    operator: BrowserSession, demo_server: DemoServer
) -> None:
    tab = OperatorPage(operator, demo_server, "#/constructor")
    for view in ("#/__proto__/x", "#/constructor"):
        tab.show(view)
        expect(tab.heading).to_have_text("There is no such page.")
    tab.show("#/events?status=constructor")
    expect(tab.page.get_by_role("link", name="All", exact=True)).to_have_attribute(
        "aria-current", "true"
    )
    tab.show("#/checks")
    finding = tab.page.locator(".finding", has_text="settings.database-kept")
    expect(finding).to_contain_text("To fix it: Set DATALAYER_STRIPE_MONGODB_URL")
    tab.page.get_by_text("Passed (").click()
    expect(tab.page.locator(".finding", has_text="key.accepted")).to_be_visible()


def answer(status: int, code: str, **headers: str) -> Callable[[Route], None]:
    """Return a function that answers a request as the service does."""
    body = {"success": False, "code": code, "message": "Not Found.", "request_id": "r1"}
    return lambda route: route.fulfill(status=status, json=body, headers=headers)


def test_refused_callers_read_what_to_do(new_session: NewSession, demo_server: DemoServer) -> None:
    session = new_session(token=demo_server.operator_token(seconds=-60))
    session.monitor.allow_status(401, 403, 404, 503)
    tab = OperatorPage(session, demo_server)
    tab.expect_view("sign-in")
    expect(tab.main).to_contain_text("Your session has ended. Sign in again.")
    expect(tab.main).to_contain_text("This page then continues by itself.")

    session.sign_in(demo_server.token())
    tab.expect_view("error")
    expect(tab.main).to_contain_text("You are signed in, but not as an operator.")
    expect(tab.main).to_contain_text("Your token does not have the role that operators need.")
    expect(tab.main).not_to_contain_text("platform_admin")
    expect(tab.section("Events")).to_have_count(0)

    routes = "**/admin/overview?*"
    tab.page.route(routes, answer(404, "not_found"))
    session.sign_in(demo_server.operator_token())
    expect(tab.main).to_contain_text("The operator's page is off.")
    expect(tab.main).to_contain_text("Set DATALAYER_STRIPE_ADMIN_ROLE")

    tab.page.unroute(routes)
    tab.page.route(routes, answer(503, "starting", **{"Retry-After": "1"}))
    tab.page.get_by_role("button", name="Try again").click()
    expect(tab.main).to_contain_text("The service is busy. Please wait a moment and try again.")
    tab.page.unroute(routes)
    tab.page.get_by_role("button", name="Try again").click()
    expect(tab.tile("Credits sold")).to_be_visible()


VARIANTS: dict[str, dict[str, Any]] = {
    "light": {},
    "phone-dark": {
        **PHONE,
        "viewport": {"width": 320, "height": 700},
        "color_scheme": "dark",
    },
}


@pytest.mark.parametrize("variant", VARIANTS)
def test_page_has_no_accessibility_violation_and_fits(
    variant: str, new_session: NewSession, demo_server: DemoServer
) -> None:
    demo_server.subscribe()
    demo_server.buy()
    subscribe_by_hand(demo_server)
    options = VARIANTS[variant]
    session = new_session(token=demo_server.operator_token(), reduced_motion="reduce", **options)
    tab = OperatorPage(session, demo_server)
    for name, view in {
        "overview": "#/",
        "events": "#/events?status=rejected",
        "accounts": "#/accounts",
        "account": f"#/accounts/{demo_server.account}",
        "checks": "#/checks",
    }.items():
        tab.show(view)
        save_screenshot(tab.page, f"operator-{name}-{variant}")
        assert violations(tab.page) == [], name
        # Not innerWidth: a phone zooms out until the page fits.
        shown = tab.page.evaluate("document.documentElement.scrollWidth")
        assert shown <= options.get("viewport", DESKTOP["viewport"])["width"], name
        sections = tab.page.get_by_role("navigation", name="Sections")
        width = sections.evaluate("(nav) => [nav.scrollWidth, nav.clientWidth]")
        assert width[0] <= width[1], "a section is cut off"
    tab.show("#/events?status=rejected")
    tab.page.get_by_role("button", name="Replay").first.click()
    expect(tab.dialog).to_be_visible()
    assert violations(tab.page) == []
