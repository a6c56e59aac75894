"""Test the JupyterLab extension in a real JupyterLab: the card, the balance and the themes."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, expect

from tests.browser.accessibility import serious_violations
from tests.browser.browser_session import BrowserSession
from tests.browser.demo_server import DemoServer, running_demo
from tests.browser.jupyter_demo import running_jupyter
from tests.browser.jupyterlab import DARK, LIGHT, JupyterLab, open_lab
from tests.support.jupyter import BASE_URL, JupyterServer

pytest.importorskip("jupyterlab")

CREDITS_ROUTE = "**/api/iam/v1/usage/credits?*"


@pytest.fixture(scope="module")
def jupyter_demo(chromium: Browser) -> Iterator[DemoServer]:
    with running_demo() as demo:
        yield DemoServer(demo)


@pytest.fixture(scope="module")
def server(
    jupyter_demo: DemoServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[JupyterServer]:
    folder = tmp_path_factory.mktemp("jupyterlab")
    with running_jupyter(jupyter_demo, folder, lab=True) as server:
        yield server


@pytest.fixture(scope="module")
def session(
    chromium: Browser, jupyter_demo: DemoServer, server: JupyterServer
) -> Iterator[BrowserSession]:
    session = BrowserSession(chromium, jupyter_demo, token=None, url=server.url)
    yield session
    errors = session.close()
    if errors:
        pytest.fail("\n".join(errors), pytrace=False)


@pytest.fixture(scope="module")
def lab(session: BrowserSession, server: JupyterServer) -> JupyterLab:
    """JupyterLab, which all tests use one after another, because it starts slowly."""
    return open_lab(session, server)


def test_card_opens_the_checkout_page_in_a_tab_without_opener(
    lab: JupyterLab, server: JupyterServer
) -> None:
    tab = lab.open_checkout(lab.card)
    tab.expect_view("ready")
    assert tab.page.url == f"{server.url}{BASE_URL}checkout"
    assert tab.page.evaluate("window.opener") is None
    tab.page.close()


def test_balance_opens_the_checkout_page_and_changes_after_a_purchase(lab: JupyterLab) -> None:
    expect(lab.status).to_have_text("0 credits")
    tab = lab.open_checkout(lab.status)
    tab.subscribe()
    tab.buy(50)
    tab.page.close()
    lab.page.bring_to_front()
    expect(lab.status).to_have_text("50 credits")


def test_palette_has_the_command(lab: JupyterLab) -> None:
    lab.execute("apputils:activate-command-palette")
    lab.page.get_by_role("combobox", name="Command Palette").or_(
        lab.page.locator(".lm-CommandPalette-input")
    ).first.fill("Buy credits")
    command = lab.page.locator(".lm-CommandPalette-item", has_text="Buy credits")
    tab = lab.open_checkout(command)
    tab.expect_view("ready")
    tab.page.close()


@pytest.mark.parametrize("theme", [LIGHT, DARK])
def test_card_and_balance_are_readable_in_theme(lab: JupyterLab, theme: str) -> None:
    lab.use_theme(theme)
    found = [line for line in serious_violations(lab.page) if "datalayer-stripe" in line]
    assert found == []
    lab.use_theme(LIGHT)
