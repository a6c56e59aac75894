"""Somebody in a browser: a context of its own, whose pages are watched."""

from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, Page

from tests.browser.background import PATIENCE
from tests.browser.checkout import Checkout
from tests.browser.demo_server import Town
from tests.browser.watch import Watch

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


class Visitor:
    """Signed in by `token`: by default the demo's account's, None is nobody's.

    Args:
        browser: where the context is made.
        town: whose pages are visited.
        token: a bearer token.
        url: the service that serves the pages, where it is not the town's first.
        options: of the context, such as `**PHONE` or `color_scheme="dark"`.
    """

    def __init__(
        self,
        browser: Browser,
        town: Town,
        *,
        token: str | None = "",
        url: str | None = None,
        **options: Any,
    ) -> None:
        self._url = url or town.url
        self.checkout_url = f"{self._url}{town.settings.checkout_path}"
        self._token = town.token() if token == "" else token
        stored = [{"name": TOKEN_KEY, "value": self._token}] if self._token else []
        self.context = browser.new_context(
            storage_state={
                "cookies": [],
                "origins": [{"origin": self._url, "localStorage": stored}],
            },
            locale="en-US",
            **{**DESKTOP, **options},
        )
        self.context.set_default_timeout(PATIENCE * 1000)
        self.watch = Watch(self.context, self._url)
        if self._token:
            self.watch.keep_secret(self._token)

    def open(self, url: str | None = None) -> Checkout:
        """Open the checkout page in a new tab."""
        page = self.context.new_page()
        page.goto(url or self.checkout_url)
        return Checkout(page)

    def sign_in(self, token: str) -> None:
        """Sign in in another tab."""
        self.watch.keep_secret(token)
        self._elsewhere("([key, token]) => localStorage.setItem(key, token)", [TOKEN_KEY, token])

    def sign_out(self) -> None:
        """Sign out in another tab."""
        self._elsewhere("([key]) => localStorage.removeItem(key)", [TOKEN_KEY])

    def _elsewhere(self, script: str, argument: Any) -> None:
        page = self.context.new_page()
        address = f"{self._url}/another-page"
        page.route(address, lambda route: route.fulfill(body=_BLANK, content_type="text/html"))
        page.goto(address)
        page.evaluate(script, argument)
        page.close()

    def keep_screenshots(self, name: str) -> None:
        """Keep a picture of each of the visitor's pages."""
        for number, page in enumerate(self.context.pages):
            screenshot(page, f"{name}-{number}")

    def leave(self) -> list[str]:
        """Close everything, and return the faults of all pages."""
        self.context.close()
        return self.watch.faults


def screenshot(page: Page, name: str) -> None:
    """Keep a picture of the whole page under build/screenshots."""
    page.screenshot(path=SCREENSHOTS / f"{name}.png", full_page=True, animations="disabled")
