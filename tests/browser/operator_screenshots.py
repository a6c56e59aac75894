"""The screenshots of docs/admin.md, which `make screenshots` creates."""

import random
from collections.abc import Callable
from typing import Any

from playwright.sync_api import Browser, Page

from tests.browser.browser_session import BrowserSession
from tests.browser.demo_server import DemoServer, running_demo
from tests.browser.operator_page import OperatorPage, sell_for_a_month, subscribe_by_hand

_WIDE: dict[str, Any] = {"viewport": {"width": 1280, "height": 860}, "device_scale_factor": 1}
_ACCOUNTS = ["ada", "grace", "hedy", "katherine"]


def save_operator_pages(browser: Browser, save: Callable[[Page, str], None]) -> None:
    """Sell for a month in a demo of its own, and save screenshots of the operator's page."""
    with running_demo() as demo:
        demo_server = DemoServer(demo)
        _prepare(demo_server)

        def save_view(name: str, view: str, **options: Any) -> None:
            session = BrowserSession(
                browser, demo_server, token=demo_server.operator_token(), **options
            )
            tab = OperatorPage(session, demo_server, view)
            tab.expect_loaded()
            # A chart is drawn after its view is loaded.
            for chart in tab.page.locator("canvas").all():
                chart.and_(tab.page.locator("[style]")).wait_for()
            save(tab.page, name)
            session.close()

        save_view("admin-light", "#/", **_WIDE)
        save_view("admin-dark", "#/events?status=rejected", color_scheme="dark", **_WIDE)
        save_view("admin-account", "#/accounts/grace", **_WIDE)


def _prepare(demo_server: DemoServer) -> None:
    numbers = random.Random(4)
    sell_for_a_month(demo_server, _ACCOUNTS, lambda: numbers.randrange(1000))
    payment = demo_server.buy(2, "grace")
    demo_server.stripe("POST", "/v1/refunds", payment_intent=payment, amount=2500)
    # A payment that somebody created by hand, without the number of credits.
    demo_server.stripe(
        "POST",
        "/v1/payment_intents",
        amount=500,
        currency="usd",
        payment_method="pm_card_visa",
        confirm=True,
        metadata={"account_uid": "grace", "price_id": demo_server.packages[0]},
        automatic_payment_methods={"enabled": True, "allow_redirects": "never"},
    )
    subscribe_by_hand(demo_server)
