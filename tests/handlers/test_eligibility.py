"""Who may buy credits: only who has an active monthly subscription to a plan of ours."""

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
async def test_who_never_subscribed_is_refused_without_a_trace(
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
async def test_another_subscription_is_not_enough(
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


ENDS: dict[str, Callable[[Sandbox, str], Any]] = {
    "past_due": lambda sandbox, sub: sandbox.renew(sub, fail=True),
    "canceled": lambda sandbox, sub: sandbox.cancel_subscription(sub),
}


@pytest.mark.parametrize("status", ENDS)
@pytest.mark.parametrize("held", [False, True])
@pytest.mark.gen_test
async def test_a_subscription_that_is_not_active_is_not_enough(
    buyer: Buyer, sandbox: Sandbox, webhooks: Webhooks, status: str, held: bool
) -> None:
    subscription_id = await buyer.subscribe()
    assert (await buyer.ask_to_buy()).code == 201
    ENDS[status](sandbox, subscription_id)
    await webhooks.settle()
    if held:  # nor where Stripe has to be asked, since our copy is of before
        webhooks.hold()
    assert_refused(await buyer.ask_to_buy())
    assert (await buyer.plan())["status"] == status


@pytest.mark.gen_test
async def test_an_unpaid_subscription_is_not_enough(buyer: Buyer, webhooks: Webhooks) -> None:
    await buyer.ask_to_subscribe()
    await webhooks.settle()
    assert_refused(await buyer.ask_to_buy())


@pytest.mark.gen_test
async def test_a_trial_is_enough(
    buyer: Buyer, sandbox: Sandbox, shop: Shop, webhooks: Webhooks
) -> None:
    subscribe_elsewhere(sandbox, shop.plan, trial_period_days=7)
    await webhooks.settle()
    assert (await buyer.plan())["status"] == "trialing"
    assert (await buyer.ask_to_buy()).code == 201


@pytest.mark.gen_test
async def test_a_scheduled_end_is_not_yet_the_end(buyer: Buyer, webhooks: Webhooks) -> None:
    await buyer.subscribe()
    await buyer.api.post(f"{IAM_ROUTES}/subscription/cancel")
    await webhooks.settle()
    assert (await buyer.ask_to_buy()).code == 201


def pass_the_end(clock: Clock, shown: dict[str, Any], **more: float) -> None:
    """Move the clock to the end of the period shown, and this much on."""
    left = datetime.fromisoformat(shown["current_period_end"]) - clock() + timedelta(**more)
    clock.advance(seconds=left.total_seconds())


@pytest.mark.gen_test
async def test_a_period_that_is_over_counts_for_one_more_day(
    buyer: Buyer, sandbox: Sandbox, webhooks: Webhooks, clock: Clock
) -> None:
    await buyer.subscribe()
    shown = await buyer.plan()
    sandbox.api.calls.clear()
    pass_the_end(clock, shown, hours=23, minutes=59)
    assert (await buyer.ask_to_buy()).code == 201
    assert calls(sandbox, *LIST) == 0
    pass_the_end(clock, shown, hours=24, seconds=1)
    assert_refused(await buyer.ask_to_buy())
    assert calls(sandbox, *LIST) == 1
    assert (await buyer.plan())["is_eligible"] is False


@pytest.mark.gen_test
async def test_a_renewal_whose_events_are_lost_counts(
    buyer: Buyer, sandbox: Sandbox, webhooks: Webhooks, clock: Clock
) -> None:
    subscription_id = await buyer.subscribe()
    pass_the_end(clock, await buyer.plan(), days=2)
    webhooks.hold()
    sandbox.renew(subscription_id)
    assert (await buyer.ask_to_buy()).code == 201
    assert (await buyer.plan())["is_eligible"] is True


@pytest.mark.mongod
@pytest.mark.gen_test
async def test_who_has_just_subscribed_is_not_refused_and_stripe_is_asked_once(
    buyer: Buyer, service: Service, sandbox: Sandbox, webhooks: Webhooks
) -> None:
    webhooks.hold()
    started = json_of(await buyer.ask_to_subscribe())
    sandbox.confirm_payment(started["client_secret"])
    sandbox.api.calls.clear()
    assert (await buyer.ask_to_buy()).code == 201
    assert calls(sandbox, *LIST) == 1
    assert (await buyer.plan())["status"] == "active", "what was seen is kept"
    assert (await buyer.ask_to_buy()).code == 201
    assert calls(sandbox, *LIST) == 1, "and not asked again"
    assert await rows(service, "events") == []


@pytest.mark.gen_test
async def test_stripe_is_asked_once_to_refuse_somebody(
    buyer: Buyer, sandbox: Sandbox, webhooks: Webhooks
) -> None:
    webhooks.hold()
    await buyer.ask_to_subscribe()
    sandbox.api.calls.clear()
    assert_refused(await buyer.ask_to_buy())
    assert [(call.method, call.path) for call in sandbox.api.calls] == [LIST]


@pytest.mark.gen_test
async def test_stripe_is_down_so_nobody_is_refused_for_good(
    buyer: Buyer, sandbox: Sandbox, webhooks: Webhooks, quick_retries: None
) -> None:
    webhooks.hold()
    await buyer.ask_to_subscribe()
    sandbox.api.refuse(503, times=3, path_prefix=LIST[1])
    answer = await buyer.ask_to_buy()
    assert (answer.code, json_of(answer)["code"]) == (503, "stripe_unavailable")


@pytest.mark.gen_test
async def test_a_subscription_of_another_account_is_not_enough(
    buyer: Buyer, stranger: Buyer, sandbox: Sandbox, webhooks: Webhooks
) -> None:
    await stranger.subscribe()
    assert_refused(await buyer.ask_to_buy())
    assert len(objects(sandbox, "/v1/customers")) == 1
