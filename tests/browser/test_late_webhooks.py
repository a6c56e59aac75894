"""Test the page with webhooks that are late, duplicated or missing."""

from collections.abc import Callable

import pytest
from playwright.sync_api import expect

from tests.browser.browser_session import BrowserSession
from tests.browser.demo_server import DemoServer


def test_credits_are_added_before_late_webhook(
    session: BrowserSession, demo_server: DemoServer
) -> None:
    demo_server.subscribe()
    tab = session.open()
    tab.choose(50)
    demo_server.hold_webhooks()
    tab.pay()
    tab.expect_state("done")
    tab.expect_balance(50)
    demo_server.release_webhooks()
    assert demo_server.credits() == 50, "the late webhook must add nothing"
    tab.expect_balance(50)


def test_plan_starts_before_late_webhooks(session: BrowserSession, demo_server: DemoServer) -> None:
    tab = session.open()
    demo_server.hold_webhooks()
    tab.subscribe()
    expect(tab.plan).to_contain_text("Renews on")
    demo_server.release_webhooks()
    expect(tab.buy_button(50)).to_be_enabled()


def test_duplicate_webhooks_add_credits_once(
    session: BrowserSession, demo_server: DemoServer
) -> None:
    demo_server.subscribe()
    demo_server.call(demo_server.sandbox.webhooks.duplicate, 2)
    tab = session.open()
    tab.buy(50)
    demo_server.settle()
    tab.expect_balance(50)
    assert demo_server.credits() == 50


@pytest.mark.mongod
def test_page_shows_credits_added_by_another_process(
    new_session: Callable[..., BrowserSession], demo_server: DemoServer
) -> None:
    """One process receives the deliveries, and another serves the page."""
    demo_server.subscribe()
    tab = new_session(url=demo_server.another_service()).open()
    tab.expect_balance(0)
    demo_server.buy()
    tab.expect_balance(50)


def test_missing_status_route_does_not_offer_second_payment(
    session: BrowserSession, demo_server: DemoServer
) -> None:
    """During a deployment, an older process without this route may respond."""
    session.monitor.allow_status(404)
    demo_server.subscribe()
    tab = session.open()
    tab.choose(50)
    tab.page.route("**/stream", lambda route: route.abort())
    session.monitor.allow("net::ERR_FAILED .*/stream")
    body = '{"success": false, "code": "not_found", "message": "There is nothing at this address."}'
    tab.page.route(
        "**/topup/payment-intent/*",
        lambda route: route.fulfill(status=404, body=body, content_type="application/json"),
    )
    demo_server.hold_webhooks()
    with tab.page.expect_response("**/topup/payment-intent/pi_*"):
        tab.pay()
    tab.expect_state("waiting")
    expect(tab.payment).not_to_contain_text("not completed")
    tab.page.unroute("**/topup/payment-intent/*")
    tab.expect_state("done")
    assert len(demo_server.charges(500)) == 1


def test_processing_payment_opens_no_form(session: BrowserSession, demo_server: DemoServer) -> None:
    demo_server.subscribe()
    path, price = "/stripe/v1/topup/payment-intent", demo_server.packages[0]
    started = demo_server.request("POST", path, price_id=price)
    intent = demo_server.call(demo_server.sandbox.get, started["payment_intent_id"])
    demo_server.call(demo_server.sandbox.put, {**intent, "status": "processing"})
    tab = session.open()
    tab.buy_button(50).click()
    tab.expect_state("processing")
    expect(tab.payment).to_contain_text("still processing")
    demo_server.call(demo_server.sandbox.put, intent)
    tab.expect_state("error")
    tab.payment.get_by_role("button", name="Try again").click()
    tab.pay()
    tab.expect_state("done")
    assert len(demo_server.charges(500)) == 1


def test_rejected_payment_shows_payment_id_and_support(
    session: BrowserSession, demo_server: DemoServer
) -> None:
    demo_server.subscribe()
    tab = session.open()
    tab.choose(50)
    [intent] = [one for one in demo_server.list_own("/v1/payment_intents") if one["amount"] == 500]
    demo_server.call(
        demo_server.sandbox.put, {**intent, "metadata": {**intent["metadata"], "credits": "many"}}
    )
    tab.pay()
    tab.expect_state("rejected")
    expect(tab.payment).to_contain_text("write to support")
    expect(tab.payment).to_contain_text(intent["id"])
    expect(tab.announcements).to_contain_text(intent["id"])
    tab.page.reload()
    tab.expect_state("rejected")
    expect(tab.payment).not_to_contain_text("on the way")
    tab.payment.get_by_role("button", name="Back").click()
    tab.expect_view("ready")
    expect(tab.buy_button(50)).to_be_enabled()


@pytest.mark.usefixtures("own_demo")
def test_credits_appear_after_operator_replays_rejected_event(
    session: BrowserSession, demo_server: DemoServer
) -> None:
    demo_server.subscribe()
    tab = session.open()
    tab.choose(50)
    customers = demo_server.environment.service.store._database.customers
    [customer] = demo_server.run(customers.find().to_list(None))
    demo_server.run(customers.update_one({}, {"$set": {"customer_id": "cus_another"}}))
    tab.pay()
    tab.expect_state("rejected")
    demo_server.run(customers.update_one({}, {"$set": {"customer_id": customer["customer_id"]}}))
    [rejected] = demo_server.run(
        demo_server.environment.service.store._database.events.find(
            {"rejected": {"$gt": ""}}
        ).to_list(None)
    )
    demo_server.run(demo_server.environment.service.processor.replay(rejected["_id"]))
    expect(tab.receipt).to_contain_text("50 credits added.")
    tab.expect_balance(50)
