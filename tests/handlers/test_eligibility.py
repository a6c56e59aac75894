"""Only an account with an active monthly subscription to a configured plan may buy credits."""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest
from tornado.httpclient import HTTPResponse

from datalayer_stripe.sandbox import Sandbox
from datalayer_stripe.sandbox.delivery.webhooks import Webhooks
from datalayer_stripe.service import Service
from tests.support.app import Clock, json_of
from tests.support.shop import (
    IAM_ROUTES,
    Buyer,
    Shop,
    calls,
    kept,
    objects,
    rows,
    subscribe_elsewhere,
)

LIST = ("GET", "/v1/subscriptions")


def assert_refused(answer: HTTPResponse) -> None:
    assert (answer.code, json_of(answer)["code"]) == (403, "subscription_required")


@pytest.mark.gen_test
async def test_account_without_subscription_is_refused_and_nothing_is_stored(
    buyer: Buyer, service: Service, sandbox: Sandbox
) -> None:
    assert_refused(await buyer.ask_to_buy())
    assert sandbox.api.calls == []
    assert await kept(service) == {}


MONTHLY = {"interval": "month"}
OTHER_PRICES: dict[str, dict[str, Any]] = {
    "yearly": {"recurring": {"interval": "year"}},
    "weekly": {"recurring": {"interval": "week"}},
    "quarterly": {"recurring": {"interval": "month", "interval_count": 3}},
    "another product": {"recurring": MONTHLY, "product": "other"},
}


@pytest.mark.parametrize("name", OTHER_PRICES)
@pytest.mark.gen_test
async def test_subscription_of_another_product_or_interval_is_not_enough(
    buyer: Buyer, sandbox: Sandbox, shop: Shop, webhooks: Webhooks, name: str
) -> None:
    price = {"product": shop.plan_product, "unit_amount": 2900, **OTHER_PRICES[name]}
    if price["product"] == "other":
        price["product"] = shop.other_product
    subscription_id = subscribe_elsewhere(sandbox, sandbox.create_price(**price)["id"])
    await webhooks.settle()
    assert sandbox.get(subscription_id)["status"] == "active"
    assert_refused(await buyer.ask_to_buy())
    assert (await buyer.plan())["is_eligible"] is False
    subscribe_elsewhere(sandbox, shop.plan)
    await webhooks.settle()
    assert (await buyer.ask_to_buy()).code == 201


STATUS_CHANGES: dict[str, Callable[[Sandbox, str], Any]] = {
    "past_due": lambda sandbox, sub: sandbox.renew(sub, fail=True),
    "canceled": lambda sandbox, sub: sandbox.cancel_subscription(sub),
}


@pytest.mark.parametrize("status", STATUS_CHANGES)
@pytest.mark.parametrize("webhook_is_late", [False, True])
@pytest.mark.gen_test
async def test_inactive_subscription_is_not_enough(
    buyer: Buyer, sandbox: Sandbox, webhooks: Webhooks, status: str, webhook_is_late: bool
) -> None:
    subscription_id = await buyer.subscribe()
    assert (await buyer.ask_to_buy()).code == 201
    STATUS_CHANGES[status](sandbox, subscription_id)
    await webhooks.settle()
    if webhook_is_late:  # the stored copy is out of date, so Stripe is asked
        webhooks.hold()
    assert_refused(await buyer.ask_to_buy())
    assert (await buyer.plan())["status"] == status


@pytest.mark.gen_test
async def test_unpaid_subscription_is_not_enough(buyer: Buyer, webhooks: Webhooks) -> None:
    await buyer.ask_to_subscribe()
    await webhooks.settle()
    assert_refused(await buyer.ask_to_buy())


@pytest.mark.gen_test
async def test_trial_is_enough(
    buyer: Buyer, sandbox: Sandbox, shop: Shop, webhooks: Webhooks
) -> None:
    subscribe_elsewhere(sandbox, shop.plan, trial_period_days=7)
    await webhooks.settle()
    assert (await buyer.plan())["status"] == "trialing"
    assert (await buyer.ask_to_buy()).code == 201


@pytest.mark.gen_test
async def test_subscription_with_scheduled_cancellation_is_enough(
    buyer: Buyer, webhooks: Webhooks
) -> None:
    await buyer.subscribe()
    await buyer.api.post(f"{IAM_ROUTES}/subscription/cancel")
    await webhooks.settle()
    assert (await buyer.ask_to_buy()).code == 201


def advance_past_period_end(clock: Clock, subscription: dict[str, Any], **more: float) -> None:
    """Move the clock to the end of the subscription's period, and `more` beyond it."""
    left = datetime.fromisoformat(subscription["current_period_end"]) - clock() + timedelta(**more)
    clock.advance(seconds=left.total_seconds())


@pytest.mark.gen_test
async def test_subscription_counts_for_one_day_after_its_period_ended(
    buyer: Buyer, sandbox: Sandbox, webhooks: Webhooks, clock: Clock
) -> None:
    await buyer.subscribe()
    subscription = await buyer.plan()
    sandbox.api.calls.clear()
    advance_past_period_end(clock, subscription, hours=23, minutes=59)
    assert (await buyer.ask_to_buy()).code == 201
    assert calls(sandbox, *LIST) == 0
    advance_past_period_end(clock, subscription, hours=24, seconds=1)
    assert_refused(await buyer.ask_to_buy())
    assert calls(sandbox, *LIST) == 1
    assert (await buyer.plan())["is_eligible"] is False


@pytest.mark.gen_test
async def test_renewal_counts_when_its_events_are_lost(
    buyer: Buyer, sandbox: Sandbox, webhooks: Webhooks, clock: Clock
) -> None:
    subscription_id = await buyer.subscribe()
    advance_past_period_end(clock, await buyer.plan(), days=2)
    webhooks.hold()
    sandbox.renew(subscription_id)
    assert (await buyer.ask_to_buy()).code == 201
    assert (await buyer.plan())["is_eligible"] is True


@pytest.mark.mongod
@pytest.mark.gen_test
async def test_new_subscriber_is_accepted_before_webhook_with_one_request_to_stripe(
    buyer: Buyer, service: Service, sandbox: Sandbox, webhooks: Webhooks
) -> None:
    webhooks.hold()
    started = json_of(await buyer.ask_to_subscribe())
    sandbox.confirm_payment(started["client_secret"])
    sandbox.api.calls.clear()
    assert (await buyer.ask_to_buy()).code == 201
    assert calls(sandbox, *LIST) == 1
    assert (await buyer.plan())["status"] == "active", "the snapshot is stored"
    assert (await buyer.ask_to_buy()).code == 201
    assert calls(sandbox, *LIST) == 1, "the stored snapshot is used"
    assert await rows(service, "events") == []


@pytest.mark.gen_test
async def test_refusal_takes_one_request_to_stripe(
    buyer: Buyer, sandbox: Sandbox, webhooks: Webhooks
) -> None:
    webhooks.hold()
    await buyer.ask_to_subscribe()
    sandbox.api.calls.clear()
    assert_refused(await buyer.ask_to_buy())
    assert [(call.method, call.path) for call in sandbox.api.calls] == [LIST]


@pytest.mark.gen_test
async def test_eligibility_check_answers_503_when_stripe_is_down(
    buyer: Buyer, sandbox: Sandbox, webhooks: Webhooks, quick_retries: None
) -> None:
    webhooks.hold()
    await buyer.ask_to_subscribe()
    sandbox.api.refuse(503, times=3, path_prefix=LIST[1])
    answer = await buyer.ask_to_buy()
    assert (answer.code, json_of(answer)["code"]) == (503, "stripe_unavailable")


@pytest.mark.gen_test
async def test_subscription_of_another_account_is_not_enough(
    buyer: Buyer, stranger: Buyer, sandbox: Sandbox, webhooks: Webhooks
) -> None:
    await stranger.subscribe()
    assert_refused(await buyer.ask_to_buy())
    assert len(objects(sandbox, "/v1/customers")) == 1
