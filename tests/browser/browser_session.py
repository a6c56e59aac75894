"""Browser context of one person, whose pages are monitored."""

from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, Page

from tests.browser.background import STEP_TIMEOUT
from tests.browser.checkout import Checkout
from tests.browser.demo_server import DemoServer
from tests.browser.page_monitor import PageMonitor

SCREENSHOTS = Path(__file__).parents[2] / "build" / "screenshots"
DESKTOP: dict[str, Any] = {"viewport": {"width": 1280, "height": 900}}
PHONE: dict[str, Any] = {
    "viewport": {"width": 390, "height": 844},
    "device_scale_factor": 2,
    "has_touch": True,
    "is_mobile": True,
}

TOKEN_KEY = "@datalayer/iam:token"
_BLANK = '<!doctype html><link rel="icon" href="data:,">'


class BrowserSession:
    """Browser context, with its own storage, that is signed in with a bearer token.

    Args:
        browser: The browser in which to create the context.
        demo_server: The server of the pages.
        token: A bearer token. "" means one of the test's account, None means signed out.
        url: The service that serves the pages, if it is not `demo_server` itself.
        **options: Options of the context, such as `**PHONE` or `color_scheme="dark"`.
    """

    def __init__(
        self,
        browser: Browser,
        demo_server: DemoServer,
        *,
        token: str | None = "",
        url: str | None = None,
        **options: Any,
    ) -> None:
        self._url = url or demo_server.url
        self.checkout_url = f"{self._url}{demo_server.settings.checkout_path}"
        self._token = demo_server.token() if token == "" else token
        stored = [{"name": TOKEN_KEY, "value": self._token}] if self._token else []
        self.context = browser.new_context(
            storage_state={
                "cookies": [],
                "origins": [{"origin": self._url, "localStorage": stored}],
            },
            locale="en-US",
            **{**DESKTOP, **options},
        )
        self.context.set_default_timeout(STEP_TIMEOUT * 1000)
        self.monitor = PageMonitor(self.context, self._url)
        if self._token:
            self.monitor.add_secret(self._token)

    def open(self, url: str | None = None) -> Checkout:
        """Open the checkout page in a new tab."""
        page = self.context.new_page()
        page.goto(url or self.checkout_url)
        return Checkout(page)

    def sign_in(self, token: str) -> None:
        """Sign in from another tab."""
        self.monitor.add_secret(token)
        self._run_in_another_tab(
            "([key, token]) => localStorage.setItem(key, token)", [TOKEN_KEY, token]
        )

    def sign_out(self) -> None:
        """Sign out from another tab."""
        self._run_in_another_tab("([key]) => localStorage.removeItem(key)", [TOKEN_KEY])

    def _run_in_another_tab(self, script: str, argument: Any) -> None:
        page = self.context.new_page()
        address = f"{self._url}/another-page"
        page.route(address, lambda route: route.fulfill(body=_BLANK, content_type="text/html"))
        page.goto(address)
        page.evaluate(script, argument)
        page.close()

    def save_screenshots(self, name: str) -> None:
        """Save a screenshot of each page."""
        for number, page in enumerate(self.context.pages):
            save_screenshot(page, f"{name}-{number}")

    def close(self) -> list[str]:
        """Close the context, and return the errors of all its pages."""
        self.context.close()
        return self.monitor.errors


def save_screenshot(page: Page, name: str) -> None:
    """Save a screenshot of the whole page in build/screenshots."""
    page.screenshot(path=SCREENSHOTS / f"{name}.png", full_page=True, animations="disabled")
