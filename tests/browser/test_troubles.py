"""Whatever does not answer, the page says so, keeps what it has, and goes on afterwards."""

import re
from contextlib import suppress
from typing import Any

import pytest
from playwright.sync_api import Route, expect

from datalayer_stripe.demo.environment import ACCOUNT
from datalayer_stripe.errors import RateLimited, StoreUnavailable
from datalayer_stripe.limits import BURST
from tests.browser.demo_server import Town
from tests.browser.visitor import Visitor

pytestmark = pytest.mark.usefixtures("quick_retries")

BAD_GATEWAYS = (500, 503)


async def unavailable(*_: Any, **__: Any) -> Any:
    raise StoreUnavailable


def abort(route: Route) -> None:
    route.abort()


def test_stripe_does_not_answer(visitor: Visitor, town: Town) -> None:
    visitor.watch.allow_status(*BAD_GATEWAYS)
    town.call(town.sandbox.api.refuse, times=1000)
    tab = visitor.open()
    tab.expect_view("ready")
    tab.expect_balance(0)
    again = tab.packages.get_by_role("button", name="Try again")
    expect(again).to_be_visible()
    town.call(town.sandbox.api.normal)
    again.click()
    expect(tab.packages).to_contain_text("$5.00")


def test_stripe_does_not_answer_when_one_buys(visitor: Visitor, town: Town) -> None:
    visitor.watch.allow_status(*BAD_GATEWAYS)
    town.subscribe()
    tab = visitor.open()
    expect(tab.buy_button(50)).to_be_enabled()
    town.call(town.sandbox.api.refuse, times=1000, path_prefix="/v1/payment_intents")
    tab.buy_button(50).click()
    expect(tab.page.get_by_role("alert")).to_be_visible()
    town.call(town.sandbox.api.normal)
    tab.page.get_by_role("button", name="Try again").click()
    tab.pay()
    tab.expect_state("done")
    assert len(town.charges(500)) == 1


def test_who_asks_too_often_is_told_how_long_to_wait(visitor: Visitor, town: Town) -> None:
    visitor.watch.allow_status(429)
    town.subscribe()
    tab = visitor.open()
    expect(tab.buy_button(50)).to_be_enabled()
    with suppress(RateLimited):
        for _ in range(BURST + 1):
            town.call(town.stage.service.rate_limiter.take, ACCOUNT)
    tab.buy_button(50).click()
    tab.expect_state("error")
    expect(tab.payment).to_contain_text("Too many requests from this account.")
    tab.payment.get_by_role("button", name="Try again").click()
    tab.pay()
    tab.expect_state("done")


def test_the_database_does_not_answer(
    visitor: Visitor, town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    visitor.watch.allow_status(503)
    accounts = type(town.stage.service.store.accounts)
    with monkeypatch.context() as broken:
        broken.setattr(accounts, "get", unavailable)
        tab = visitor.open()
        tab.expect_view("error")
        again = tab.main.get_by_role("button", name="Try again")
        expect(again).to_be_visible()
    again.click()
    tab.expect_view("ready")
    tab.expect_balance(0)


def test_the_history_fails_alone(visitor: Visitor, town: Town) -> None:
    visitor.watch.allow("net::ERR_FAILED .*/topup/history")
    town.subscribe()
    town.buy()
    tab = visitor.open("about:blank")
    tab.page.route("**/topup/history*", abort)
    tab.page.goto(visitor.checkout_url)
    tab.expect_balance(50)
    expect(tab.buy_button(50)).to_be_enabled()
    again = tab.history.get_by_role("button", name="Try again")
    expect(again).to_be_visible()
    tab.page.unroute("**/topup/history*")
    again.click()
    expect(tab.rows).to_have_count(1)


def test_without_its_stream_the_page_asks(visitor: Visitor, town: Town) -> None:
    visitor.watch.allow("net::ERR_FAILED .*/stream")
    town.subscribe()
    tab = visitor.open("about:blank")
    tab.page.route("**/stream", abort)
    tab.page.goto(visitor.checkout_url)
    tab.expect_balance(0)
    town.buy()
    tab.expect_balance(50)
    with tab.page.expect_response("**/stream") as reconnected:
        tab.page.unroute("**/stream")
    assert reconnected.value.ok
    town.buy(1)
    tab.expect_balance(270)


def test_stripe_js_is_blocked(visitor: Visitor, town: Town) -> None:
    script = re.compile(r"/sandbox/stripe\.js")
    visitor.watch.allow(r"net::ERR_FAILED .*/sandbox/stripe\.js")
    town.subscribe()
    tab = visitor.open("about:blank")
    tab.page.route(script, abort)
    tab.page.goto(visitor.checkout_url)
    tab.buy_button(50).click()
    tab.expect_state("error")
    tab.page.unroute(script)
    tab.payment.get_by_role("button", name="Try again").click()
    tab.pay()
    tab.expect_state("done")
