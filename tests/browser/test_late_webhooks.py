"""Webhooks that come late, twice or never: the page ends as it should."""

from collections.abc import Callable

import pytest
from playwright.sync_api import expect

from tests.browser.demo_server import Town
from tests.browser.visitor import Visitor


def test_credits_arrive_without_their_webhook(visitor: Visitor, town: Town) -> None:
    town.subscribe()
    tab = visitor.open()
    tab.choose(50)
    town.hold_webhooks()
    tab.pay()
    tab.expect_state("done")
    tab.expect_balance(50)
    town.release_webhooks()
    assert town.credits() == 50, "the webhook has added nothing"
    tab.expect_balance(50)


def test_a_plan_starts_without_its_webhooks(visitor: Visitor, town: Town) -> None:
    tab = visitor.open()
    town.hold_webhooks()
    tab.subscribe()
    expect(tab.plan).to_contain_text("Renews on")
    town.release_webhooks()
    expect(tab.buy_button(50)).to_be_enabled()


def test_webhooks_that_come_twice_add_once(visitor: Visitor, town: Town) -> None:
    town.subscribe()
    town.call(town.sandbox.webhooks.duplicate, 2)
    tab = visitor.open()
    tab.buy(50)
    town.settle()
    tab.expect_balance(50)
    assert town.credits() == 50


@pytest.mark.mongod
def test_a_webhook_at_another_process_shows(
    new_visitor: Callable[..., Visitor], town: Town
) -> None:
    """Stripe's deliveries go to one process, and the page is served by another."""
    town.subscribe()
    tab = new_visitor(url=town.another_service()).open()
    tab.expect_balance(0)
    town.buy()
    tab.expect_balance(50)


def test_a_status_that_cannot_be_had_is_no_reason_to_pay_again(
    visitor: Visitor, town: Town
) -> None:
    """As while an older process, which has no such route, answers."""
    visitor.watch.allow_status(404)
    town.subscribe()
    tab = visitor.open()
    tab.choose(50)
    tab.page.route("**/stream", lambda route: route.abort())
    visitor.watch.allow("net::ERR_FAILED .*/stream")
    body = '{"success": false, "code": "not_found", "message": "There is nothing at this address."}'
    tab.page.route(
        "**/topup/payment-intent/*",
        lambda route: route.fulfill(status=404, body=body, content_type="application/json"),
    )
    town.hold_webhooks()
    with tab.page.expect_response("**/topup/payment-intent/pi_*"):
        tab.pay()
    tab.expect_state("waiting")
    expect(tab.payment).not_to_contain_text("not completed")
    tab.page.unroute("**/topup/payment-intent/*")
    tab.expect_state("done")
    assert len(town.charges(500)) == 1


def test_a_payment_that_is_processed_opens_no_second_form(visitor: Visitor, town: Town) -> None:
    town.subscribe()
    path, price = "/stripe/v1/topup/payment-intent", town.packages[0]
    started = town.ask("POST", path, price_id=price)
    intent = town.call(town.sandbox.get, started["payment_intent_id"])
    town.call(town.sandbox.put, {**intent, "status": "processing"})
    tab = visitor.open()
    tab.buy_button(50).click()
    tab.expect_state("processing")
    expect(tab.payment).to_contain_text("still processing")
    town.call(town.sandbox.put, intent)
    tab.expect_state("error")
    tab.payment.get_by_role("button", name="Try again").click()
    tab.pay()
    tab.expect_state("done")
    assert len(town.charges(500)) == 1


def test_what_waits_for_the_operator_is_told_as_that(visitor: Visitor, town: Town) -> None:
    town.subscribe()
    tab = visitor.open()
    tab.choose(50)
    [intent] = [one for one in town.listed("/v1/payment_intents") if one["amount"] == 500]
    town.call(town.sandbox.put, {**intent, "metadata": {**intent["metadata"], "credits": "many"}})
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


def test_what_the_operator_has_mended_is_seen(visitor: Visitor, town: Town) -> None:
    town.subscribe()
    tab = visitor.open()
    tab.choose(50)
    customers = town.stage.service.store._database.customers
    [customer] = town.run(customers.find().to_list(None))
    town.run(customers.update_one({}, {"$set": {"customer_id": "cus_another"}}))
    tab.pay()
    tab.expect_state("rejected")
    town.run(customers.update_one({}, {"$set": {"customer_id": customer["customer_id"]}}))
    [rejected] = town.run(
        town.stage.service.store._database.events.find({"rejected": {"$gt": ""}}).to_list(None)
    )
    town.run(town.stage.service.processor.replay(rejected["_id"]))
    expect(tab.receipt).to_contain_text("50 credits added.")
    tab.expect_balance(50)
