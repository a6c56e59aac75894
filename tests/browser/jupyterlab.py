"""Page object of JupyterLab."""

from typing import Any, Self

from playwright.sync_api import Locator, Page, expect

from tests.browser.browser_session import BrowserSession
from tests.browser.checkout import Checkout
from tests.support.jupyter import BASE_URL, TOKEN, JupyterServer

LIGHT, DARK = "JupyterLab Light", "JupyterLab Dark"

_SET_HIDDEN = """
(hidden) => {
  const state = hidden ? "hidden" : "visible";
  Object.defineProperty(document, "hidden", { configurable: true, value: hidden });
  Object.defineProperty(document, "visibilityState", { configurable: true, value: state });
  document.dispatchEvent(new Event("visibilitychange"));
}
"""


class JupyterLab:
    """A tab with JupyterLab. The server must make the application available as `jupyterapp`."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.card = page.locator(".jp-LauncherCard", has_text="Buy credits")
        self.status = page.locator(".datalayer-stripe-status")
        self.dialog = page.locator(".jp-Dialog")

    def open(self, server: JupyterServer) -> Self:
        """Open JupyterLab, signed in by the server's token, and wait for the launcher."""
        self.page.goto(f"{server.url}{BASE_URL}lab?token={TOKEN}")
        self.page.locator(".jp-LauncherCard", has_text="Text File").wait_for()
        return self

    def execute(self, command: str, **args: Any) -> None:
        """Execute a command of JupyterLab."""
        script = "([command, args]) => window.jupyterapp.commands.execute(command, args)"
        self.page.evaluate(script, [command, args])

    def use_theme(self, theme: str) -> None:
        self.execute("apputils:change-theme", theme=theme)
        expect(self.page.locator("body")).to_have_attribute("data-jp-theme-name", theme)

    def refresh(self) -> None:
        """Fetch the balance, as if the person came back to the window."""
        self.page.evaluate("() => void window.dispatchEvent(new Event('focus'))")

    def set_hidden(self, hidden: bool) -> None:
        """Hide or show the page, as if the person changed to another tab."""
        self.page.evaluate(_SET_HIDDEN, hidden)

    def open_checkout(self, link: Locator) -> Checkout:
        """Click the card or the balance, and return the tab that it opens."""
        with self.page.context.expect_page() as opened:
            link.click()
        return Checkout(opened.value)


def open_lab(session: BrowserSession, server: JupyterServer) -> JupyterLab:
    """Open JupyterLab in a new tab of the session."""
    return JupyterLab(session.context.new_page()).open(server)
