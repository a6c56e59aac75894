"""Test the page in a Jupyter Server, where the browser has a cookie and no token."""

from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import Browser, expect

from tests.browser.browser_session import BrowserSession
from tests.browser.demo_server import DemoServer, running_demo
from tests.browser.jupyter_demo import running_jupyter
from tests.support.jupyter import BASE_URL, TOKEN, JupyterServer


@pytest.fixture(scope="module")
def jupyter_demo(chromium: Browser) -> Iterator[DemoServer]:
    """The demo whose local Stripe the Jupyter Server uses."""
    with running_demo() as demo:
        yield DemoServer(demo)


@pytest.fixture(scope="module")
def jupyter_server(
    jupyter_demo: DemoServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[JupyterServer]:
    """One Jupyter Server for all tests, because it starts slowly."""
    with running_jupyter(jupyter_demo, tmp_path_factory.mktemp("jupyter")) as server:
        yield server


@pytest.fixture
def demo_server(jupyter_demo: DemoServer) -> DemoServer:
    return jupyter_demo


@pytest.fixture
def server(jupyter_server: JupyterServer, demo_server: DemoServer) -> Iterator[JupyterServer]:
    """The Jupyter Server, whose user has no subscription at the start of each test."""
    yield jupyter_server
    for subscription in demo_server.list_all("/v1/subscriptions"):
        demo_server.call(demo_server.sandbox.cancel_subscription, subscription["id"])
    demo_server.settle()


def test_jupyter_user_buys_credits(
    server: JupyterServer, new_session: Callable[..., BrowserSession]
) -> None:
    session = new_session(token=None)
    tab = session.open(f"{server.url}{BASE_URL}checkout?token={TOKEN}")
    tab.expect_view("ready")
    tab.expect_balance(0)
    tab.subscribe()
    tab.buy(220)
    tab.expect_balance(220)
    tab.page.goto(f"{server.url}{BASE_URL}checkout")
    tab.expect_balance(220)
    expect(tab.rows).to_have_count(1)


def test_signed_out_user_is_redirected_to_jupyter_login_and_back(
    server: JupyterServer, new_session: Callable[..., BrowserSession]
) -> None:
    tab = new_session(token=None).open(f"{server.url}{BASE_URL}checkout")
    tab.page.get_by_label("Password or token").fill(TOKEN)
    tab.page.get_by_role("button", name="Log in", exact=True).click()
    tab.expect_view("ready")


def test_expired_jupyter_session_asks_to_sign_in(
    server: JupyterServer, new_session: Callable[..., BrowserSession]
) -> None:
    session = new_session(token=None)
    session.monitor.allow_status(401)
    tab = session.open(f"{server.url}{BASE_URL}checkout?token={TOKEN}")
    tab.expect_view("ready")
    session.context.clear_cookies()
    tab.subscribe_button.click()
    tab.expect_view("sign-in")
    tab.page.get_by_role("link", name="Sign in").click()
    expect(tab.page).to_have_url(f"{server.url}{BASE_URL}login?next=%2Fuser%2Fx%2Fcheckout")
