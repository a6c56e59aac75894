"""Create the screenshots of JupyterLab for docs/jupyter.md; `make screenshots` runs it."""

from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

from playwright.sync_api import Browser, Page, expect

from tests.browser.browser_session import BrowserSession
from tests.browser.demo_server import DemoServer
from tests.browser.jupyter_demo import running_jupyter
from tests.browser.jupyterlab import DARK, LIGHT, open_lab

_SIZE = {"width": 1000, "height": 680}


def save_lab(browser: Browser, demo_server: DemoServer, save: Callable[[Page, str], None]) -> None:
    """Save the launcher and the status bar in both themes.

    Args:
        browser: The browser.
        demo_server: The demo whose local Stripe the server uses.
        save: Saves a screenshot of a page under a name.
    """
    with TemporaryDirectory() as folder, running_jupyter(demo_server, Path(folder), lab=True) as at:
        session = BrowserSession(browser, demo_server, token=None, url=at.url, viewport=_SIZE)
        lab = open_lab(session, at)
        tab = lab.open_checkout(lab.card)
        tab.subscribe()
        tab.buy(50)
        tab.buy(220)
        tab.page.close()
        lab.refresh()
        expect(lab.status).to_have_text("270 credits")
        lab.execute("application:toggle-left-area")
        lab.page.mouse.move(0, 0)  # off the cards, which change under the pointer
        for theme, name in ((LIGHT, "jupyterlab-light"), (DARK, "jupyterlab-dark")):
            lab.use_theme(theme)
            save(lab.page, name)
        session.close()
