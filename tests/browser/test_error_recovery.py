"""Test that the page shows errors, keeps its content and recovers."""

import re
from contextlib import suppress
from typing import Any

import pytest
from playwright.sync_api import Route, expect

from datalayer_stripe.errors import RateLimited, StoreUnavailable
from datalayer_stripe.settings import Settings
from tests.browser.browser_session import BrowserSession
from tests.browser.demo_server import DemoServer

pytestmark = pytest.mark.usefixtures("quick_retries")

BAD_GATEWAYS = (500, 503)

BURST: int = Settings.model_fields["stripe_account_burst"].default


async def raise_store_unavailable(*_: Any, **__: Any) -> Any:
    raise StoreUnavailable


def abort(route: Route) -> None:
    route.abort()


# The shared demo has the packages in its cache.
@pytest.mark.usefixtures("own_demo")
def test_packages_can_be_reloaded_after_stripe_error(
    session: BrowserSession, demo_server: DemoServer
) -> None:
    session.monitor.allow_status(*BAD_GATEWAYS)
    demo_server.call(demo_server.sandbox.api.refuse, times=1000)
    tab = session.open()
    tab.expect_view("ready")
    tab.expect_balance(0)
    again = tab.packages.get_by_role("button", name="Try again")
    expect(again).to_be_visible()
    demo_server.call(demo_server.sandbox.api.normal)
    again.click()
    expect(tab.packages).to_contain_text("$5.00")


def test_purchase_can_be_retried_after_stripe_error(
    session: BrowserSession, demo_server: DemoServer
) -> None:
    session.monitor.allow_status(*BAD_GATEWAYS)
    demo_server.subscribe()
    tab = session.open()
    expect(tab.buy_button(50)).to_be_enabled()
    demo_server.call(demo_server.sandbox.api.refuse, times=1000, path_prefix="/v1/payment_intents")
    tab.buy_button(50).click()
    expect(tab.page.get_by_role("alert")).to_be_visible()
    demo_server.call(demo_server.sandbox.api.normal)
    tab.page.get_by_role("button", name="Try again").click()
    tab.pay()
    tab.expect_state("done")
    assert len(demo_server.charges(500)) == 1


def test_rate_limited_purchase_can_be_retried(
    session: BrowserSession, demo_server: DemoServer
) -> None:
    session.monitor.allow_status(429)
    demo_server.subscribe()
    tab = session.open()
    expect(tab.buy_button(50)).to_be_enabled()

    def exhaust_limit(route: Route) -> None:
        """Use up the limit just before the request, because it recovers with time."""
        with suppress(RateLimited):
            for _ in range(BURST + 1):
                rate_limiter = demo_server.environment.service.rate_limiter
                demo_server.call(rate_limiter.take, demo_server.account)
        route.continue_()

    tab.page.route("**/topup/payment-intent", exhaust_limit, times=1)
    tab.buy_button(50).click()
    tab.expect_state("error")
    expect(tab.payment).to_contain_text("Too many requests from this account.")
    tab.payment.get_by_role("button", name="Try again").click()
    tab.pay()
    tab.expect_state("done")


def test_page_can_be_reloaded_after_database_error(
    session: BrowserSession, demo_server: DemoServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    session.monitor.allow_status(503)
    overviews = type(demo_server.environment.service.store.overviews)
    with monkeypatch.context() as broken:
        broken.setattr(overviews, "of_account", raise_store_unavailable)
        tab = session.open()
        tab.expect_view("error")
        again = tab.main.get_by_role("button", name="Try again")
        expect(again).to_be_visible()
    again.click()
    tab.expect_view("ready")
    tab.expect_balance(0)


def test_failed_history_leaves_page_usable(
    session: BrowserSession, demo_server: DemoServer
) -> None:
    session.monitor.allow("net::ERR_FAILED .*/topup/history")
    demo_server.subscribe()
    demo_server.buy()
    tab = session.open("about:blank")
    tab.page.route("**/topup/history*", abort)
    tab.page.goto(session.checkout_url)
    tab.expect_balance(50)
    expect(tab.buy_button(50)).to_be_enabled()
    again = tab.history.get_by_role("button", name="Try again")
    expect(again).to_be_visible()
    tab.page.unroute("**/topup/history*")
    again.click()
    expect(tab.rows).to_have_count(1)


def test_page_polls_without_stream(session: BrowserSession, demo_server: DemoServer) -> None:
    session.monitor.allow("net::ERR_FAILED .*/stream")
    demo_server.subscribe()
    tab = session.open("about:blank")
    tab.page.route("**/stream", abort)
    tab.page.goto(session.checkout_url)
    tab.expect_balance(0)
    demo_server.buy()
    tab.expect_balance(50)
    with tab.page.expect_response("**/stream") as reconnected:
        tab.page.unroute("**/stream")
    assert reconnected.value.ok
    demo_server.buy(1)
    tab.expect_balance(270)


def test_payment_can_be_retried_when_stripe_js_is_blocked(
    session: BrowserSession, demo_server: DemoServer
) -> None:
    script = re.compile(r"/sandbox/stripe\.js")
    session.monitor.allow(r"net::ERR_FAILED .*/sandbox/stripe\.js")
    demo_server.subscribe()
    tab = session.open("about:blank")
    tab.page.route(script, abort)
    tab.page.goto(session.checkout_url)
    tab.buy_button(50).click()
    tab.expect_state("error")
    tab.page.unroute(script)
    tab.payment.get_by_role("button", name="Try again").click()
    tab.pay()
    tab.expect_state("done")
