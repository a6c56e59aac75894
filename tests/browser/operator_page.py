"""Page object of the operator's page."""

from collections.abc import Callable

from playwright.sync_api import Locator, Page, expect

from tests.browser.browser_session import BrowserSession
from tests.browser.demo_server import DemoServer

ADVICE = "Set account_uid in its metadata"


class OperatorPage:
    """A tab with the operator's page, at a view such as `#/accounts`."""

    def __init__(self, session: BrowserSession, demo_server: DemoServer, view: str = "#/") -> None:
        self.page: Page = session.context.new_page()
        self.url = demo_server.operator_url
        self.main = self.page.get_by_role("main")
        self.heading = self.page.locator("#view-heading")
        self.dialog = self.page.get_by_role("dialog")
        self.events = self.page.locator("#view li.event")
        self.page.goto(f"{self.url}{view}")

    def show(self, view: str) -> None:
        """Go to a view by its address, as a link in a chat does, and wait until it is loaded."""
        self.page.goto(f"{self.url}{view}")
        self.expect_loaded()

    def expect_view(self, view: str) -> None:
        """Wait until the page shows `ready`, `sign-in` or `error`."""
        expect(self.main).to_have_attribute("data-view", view)

    def expect_loaded(self) -> None:
        """Wait until the view has its data."""
        self.expect_view("ready")
        expect(self.page.locator("[aria-busy=true]")).to_have_count(0)

    def section(self, name: str) -> Locator:
        """Return a section of the navigation, such as `Events`."""
        return self.page.get_by_role("navigation", name="Sections").get_by_role("link", name=name)

    def tile(self, name: str) -> Locator:
        """Return a number of the overview, such as `Credits sold`."""
        return self.page.locator(".tile", has_text=name)


def subscribe_by_hand(demo_server: DemoServer) -> str:
    """Create a subscription in Stripe's dashboard, of a customer that the service does not know.

    Its events are rejected.
    """
    customer = demo_server.stripe("POST", "/v1/customers", email="by-hand@example.com")["id"]
    subscription = demo_server.stripe(
        "POST",
        "/v1/subscriptions",
        customer=customer,
        items=[{"price": demo_server.environment.plan_price}],
        payment_behavior="default_incomplete",
    )
    demo_server.settle()
    return str(subscription["id"])


def sell_for_a_month(
    demo_server: DemoServer, accounts: list[str], numbers: Callable[[], int]
) -> None:
    """Let accounts buy packages on each of the last days. `numbers` decides what they buy."""
    clock = demo_server.clock
    now = clock.offset
    # Signatures are checked with the service's clock.
    demo_server.sandbox.clock.source = clock.timestamp
    clock.advance(days=-28)
    for account in accounts:
        demo_server.subscribe(account)
    while clock.offset < now:
        for _ in range(numbers() % 4):
            account = accounts[numbers() % len(accounts)]
            demo_server.buy(numbers() % len(demo_server.packages), account)
        clock.advance(days=1)
    clock.offset = now
