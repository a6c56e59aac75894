"""Signed in, signed out, and what happens when that changes."""

from collections.abc import Callable

from playwright.sync_api import expect

from tests.browser.demo_server import Town
from tests.browser.visitor import Visitor

UNAUTHORIZED = 401


def test_a_token_is_awaited(new_visitor: Callable[..., Visitor], town: Town) -> None:
    nobody = new_visitor(token=None)
    tab = nobody.open()
    tab.expect_view("sign-in")
    expect(tab.main).to_contain_text("Sign in to see your credits.")
    nobody.sign_in(town.token())
    tab.expect_view("ready")
    tab.expect_balance(0)


def test_an_expired_token_is_said(new_visitor: Callable[..., Visitor], town: Town) -> None:
    late = new_visitor(token=town.token(seconds=-60))
    late.watch.allow_status(UNAUTHORIZED)
    tab = late.open()
    tab.expect_view("sign-in")
    expect(tab.main).to_contain_text("Your session has ended. Sign in again.")
    late.sign_in(town.token())
    tab.expect_view("ready")


def test_page_asks_to_sign_in_again_when_its_token_expires(
    new_visitor: Callable[..., Visitor], town: Town
) -> None:
    """The stream ends with its token, without any action on the page."""
    brief = new_visitor(token=town.token(seconds=3600))
    brief.watch.allow_status(UNAUTHORIZED)
    tab = brief.open()
    tab.expect_view("ready")
    town.streams_become(1)
    town.clock.advance(hours=2)
    tab.expect_view("sign-in")
    expect(tab.main).to_contain_text("Your session has ended. Sign in again.")
    brief.sign_in(town.token())
    tab.expect_view("ready")


def test_a_token_that_is_refused_when_one_buys(visitor: Visitor, town: Town) -> None:
    visitor.watch.allow_status(UNAUTHORIZED)
    town.subscribe()
    tab = visitor.open()
    expired = {"authorization": f"Bearer {town.token(seconds=-60)}"}
    route = "**/topup/payment-intent"
    tab.page.route(
        route, lambda found: found.continue_(headers={**found.request.headers, **expired})
    )
    tab.buy_button(50).click()
    tab.expect_view("sign-in")
    expect(tab.main).to_contain_text("Your session has ended. Sign in again.")
    tab.page.unroute(route)
    visitor.sign_in(town.token(seconds=7200))
    tab.expect_view("ready")
    tab.buy(50)


def test_signing_out_elsewhere(visitor: Visitor, town: Town) -> None:
    town.subscribe()
    town.buy()
    tab = visitor.open()
    tab.expect_balance(50)
    visitor.sign_out()
    tab.expect_view("sign-in")
    expect(tab.main).not_to_contain_text("demo")
    visitor.sign_in(town.token())
    tab.expect_balance(50)


def test_the_token_may_be_stored_as_json(new_visitor: Callable[..., Visitor], town: Town) -> None:
    tab = new_visitor(token=f'"{town.token()}"').open()
    tab.expect_view("ready")
