"""Test signing in and out, and tokens that expire."""

from collections.abc import Callable

import pytest
from playwright.sync_api import expect

from tests.browser.browser_session import BrowserSession
from tests.browser.demo_server import DemoServer

UNAUTHORIZED = 401


def test_page_loads_as_soon_as_token_is_stored(
    new_session: Callable[..., BrowserSession], demo_server: DemoServer
) -> None:
    signed_out = new_session(token=None)
    tab = signed_out.open()
    tab.expect_view("sign-in")
    expect(tab.main).to_contain_text("Sign in to see your credits.")
    signed_out.sign_in(demo_server.token())
    tab.expect_view("ready")
    tab.expect_balance(0)


def test_expired_token_asks_to_sign_in(
    new_session: Callable[..., BrowserSession], demo_server: DemoServer
) -> None:
    expired = new_session(token=demo_server.token(seconds=-60))
    expired.monitor.allow_status(UNAUTHORIZED)
    tab = expired.open()
    tab.expect_view("sign-in")
    expect(tab.main).to_contain_text("Your session has ended. Sign in again.")
    expired.sign_in(demo_server.token())
    tab.expect_view("ready")


@pytest.mark.usefixtures("own_demo")
def test_page_asks_to_sign_in_when_token_expires(
    new_session: Callable[..., BrowserSession], demo_server: DemoServer
) -> None:
    """The stream ends when its token expires, without any action on the page."""
    signed_in = new_session(token=demo_server.token(seconds=3600))
    signed_in.monitor.allow_status(UNAUTHORIZED)
    tab = signed_in.open()
    tab.expect_view("ready")
    demo_server.wait_for_streams(1)
    demo_server.clock.advance(hours=2)
    tab.expect_view("sign-in")
    expect(tab.main).to_contain_text("Your session has ended. Sign in again.")
    signed_in.sign_in(demo_server.token())
    tab.expect_view("ready")


def test_refused_token_during_purchase_asks_to_sign_in(
    session: BrowserSession, demo_server: DemoServer
) -> None:
    session.monitor.allow_status(UNAUTHORIZED)
    demo_server.subscribe()
    tab = session.open()
    expired = {"authorization": f"Bearer {demo_server.token(seconds=-60)}"}
    route = "**/topup/payment-intent"
    tab.page.route(
        route, lambda found: found.continue_(headers={**found.request.headers, **expired})
    )
    tab.buy_button(50).click()
    tab.expect_view("sign-in")
    expect(tab.main).to_contain_text("Your session has ended. Sign in again.")
    tab.page.unroute(route)
    session.sign_in(demo_server.token(seconds=7200))
    tab.expect_view("ready")
    tab.buy(50)


def test_sign_out_in_another_tab_hides_account(
    session: BrowserSession, demo_server: DemoServer
) -> None:
    demo_server.subscribe()
    demo_server.buy()
    tab = session.open()
    tab.expect_balance(50)
    session.sign_out()
    tab.expect_view("sign-in")
    expect(tab.main).not_to_contain_text(demo_server.account)
    session.sign_in(demo_server.token())
    tab.expect_balance(50)


def test_token_can_be_stored_as_json(
    new_session: Callable[..., BrowserSession], demo_server: DemoServer
) -> None:
    tab = new_session(token=f'"{demo_server.token()}"').open()
    tab.expect_view("ready")
