"""Subscribe: pending, running and foreign subscriptions, and concurrent requests."""

import asyncio

import pytest

from datalayer_stripe.sandbox import Sandbox, SandboxCardError, StripeError
from datalayer_stripe.sandbox.delivery.webhooks import Webhooks
from datalayer_stripe.service import Service
from tests.handlers.subscription_requests import (
    assert_conflict,
    cancel,
    subscriptions,
)
from tests.support.app import ACCOUNT, json_of
from tests.support.shop import (
    DECLINED_CARD,
    OTHER_ACCOUNT,
    Buyer,
    Shop,
    objects,
    subscribe_elsewhere,
)


@pytest.mark.gen_test
async def test_subscription_becomes_active_when_first_invoice_is_paid(
    buyer: Buyer, sandbox: Sandbox, shop: Shop, webhooks: Webhooks
) -> None:
    started = json_of(await buyer.ask_to_subscribe())
    made = sandbox.get(started["subscription_id"])
    assert (made["status"], started["status"]) == ("incomplete", "incomplete")
    assert made["items"]["data"][0]["price"]["id"] == shop.plan
    assert made["metadata"] == {"account_uid": ACCOUNT}
    intent = sandbox.confirm_payment(started["client_secret"])
    assert (intent["amount"], intent["currency"]) == (2900, "usd")
    await webhooks.settle()
    assert sandbox.get(made["id"])["default_payment_method"] == intent["payment_method"]
    assert (await buyer.plan())["status"] == "active"


@pytest.mark.mongod
@pytest.mark.gen_test
async def test_concurrent_subscribe_requests_create_one_subscription(
    buyer: Buyer, sandbox: Sandbox, quick_retries: None
) -> None:
    sandbox.api.delay(0.01, path_prefix="/v1/subscriptions")
    answers = await asyncio.gather(*(buyer.ask_to_subscribe() for _ in range(4)))
    assert {answer.code for answer in answers} == {201}
    assert {json_of(answer)["subscription_id"] for answer in answers} == set(subscriptions(sandbox))
    assert len({json_of(answer)["client_secret"] for answer in answers}) == 1
    assert len(subscriptions(sandbox)) == 1


@pytest.mark.gen_test
async def test_pending_subscription_is_reused(
    buyer: Buyer, sandbox: Sandbox, webhooks: Webhooks
) -> None:
    first = json_of(await buyer.ask_to_subscribe())
    with pytest.raises(SandboxCardError):
        sandbox.confirm_payment(first["client_secret"], DECLINED_CARD)
    await webhooks.settle()
    second = json_of(await buyer.ask_to_subscribe())
    assert second["subscription_id"] == first["subscription_id"]
    sandbox.confirm_payment(second["client_secret"])
    assert subscriptions(sandbox) == [first["subscription_id"]]


@pytest.mark.gen_test
async def test_pending_subscription_of_another_price_is_not_reused(
    buyer: Buyer, sandbox: Sandbox, shop: Shop
) -> None:
    other = sandbox.create_price(
        product=shop.plan_product, unit_amount=9900, recurring={"interval": "month"}
    )
    first = json_of(await buyer.ask_to_subscribe())
    second = json_of(await buyer.ask_to_subscribe(other["id"]))
    assert second["subscription_id"] != first["subscription_id"]
    third = json_of(await buyer.ask_to_subscribe(other["id"]))
    assert third["subscription_id"] == second["subscription_id"]


@pytest.mark.parametrize("webhook_is_late", [False, True])
@pytest.mark.parametrize("state", ["active", "past_due", "ends with its period"])
@pytest.mark.gen_test
async def test_account_with_running_subscription_cannot_subscribe(
    buyer: Buyer, sandbox: Sandbox, webhooks: Webhooks, state: str, webhook_is_late: bool
) -> None:
    if webhook_is_late:
        webhooks.hold()
    subscription_id = await buyer.subscribe()
    if state == "past_due":
        sandbox.renew(subscription_id, fail=True)
    elif state != "active":
        sandbox.cancel_subscription(subscription_id, now=False)
    await webhooks.settle()
    assert_conflict(await buyer.ask_to_subscribe())
    assert subscriptions(sandbox) == [subscription_id]


@pytest.mark.gen_test
async def test_account_can_subscribe_after_its_subscription_ended(
    buyer: Buyer, sandbox: Sandbox, webhooks: Webhooks
) -> None:
    first = await buyer.subscribe()
    sandbox.cancel_subscription(first)
    await webhooks.settle()
    second = await buyer.subscribe()
    assert second != first
    assert (await buyer.plan())["id"] == second


@pytest.mark.gen_test
async def test_only_last_requested_plan_can_be_paid(
    buyer: Buyer, webhooks: Webhooks, sandbox: Sandbox, shop: Shop
) -> None:
    other = sandbox.create_price(
        product=shop.plan_product, unit_amount=9900, currency="usd", recurring={"interval": "month"}
    )["id"]
    first = json_of(await buyer.ask_to_subscribe())
    second = json_of(await buyer.ask_to_subscribe(other))
    with pytest.raises(StripeError):
        sandbox.confirm_payment(first["client_secret"])
    sandbox.confirm_payment(second["client_secret"])
    await webhooks.settle()
    statuses = [one["status"] for one in objects(sandbox, "/v1/subscriptions", status="all")]
    assert sorted(statuses) == ["active", "incomplete_expired"]
    assert (await buyer.plan())["plan_id"] == other


@pytest.mark.gen_test
async def test_concurrent_requests_for_two_plans_leave_one_pending_subscription(
    buyer: Buyer, webhooks: Webhooks, sandbox: Sandbox, shop: Shop, quick_retries: None
) -> None:
    other = sandbox.create_price(
        product=shop.plan_product, unit_amount=9900, currency="usd", recurring={"interval": "month"}
    )["id"]
    answers = await asyncio.gather(*(buyer.ask_to_subscribe(price) for price in (None, other) * 4))
    assert {answer.code for answer in answers} <= {201, 409}
    pending = objects(sandbox, "/v1/subscriptions", status="incomplete")
    assert len(pending) == 1


@pytest.mark.gen_test
async def test_account_with_subscription_of_another_customer_cannot_subscribe(
    buyer: Buyer, webhooks: Webhooks, sandbox: Sandbox, shop: Shop
) -> None:
    await buyer.ask_to_subscribe()  # creates a customer for the account
    assert (await cancel(buyer.api)).code == 200
    subscribe_elsewhere(sandbox, shop.plan)
    await webhooks.settle()
    assert_conflict(await buyer.ask_to_subscribe())


@pytest.mark.gen_test
async def test_ended_subscription_of_another_customer_does_not_block_subscribing(
    buyer: Buyer, webhooks: Webhooks, sandbox: Sandbox, shop: Shop
) -> None:
    await buyer.ask_to_subscribe()
    elsewhere = subscribe_elsewhere(sandbox, shop.plan)
    await webhooks.settle()
    webhooks.hold()  # the stored copy still says that it is running
    sandbox.cancel_subscription(elsewhere)
    assert (await buyer.ask_to_subscribe()).code == 201


@pytest.mark.gen_test
async def test_subscribe_ends_pending_subscription_of_another_customer(
    buyer: Buyer, webhooks: Webhooks, sandbox: Sandbox, shop: Shop
) -> None:
    await buyer.ask_to_subscribe()
    sandbox.call(
        "POST",
        "/v1/subscriptions",
        customer=sandbox.create_customer()["id"],
        items=[{"price": shop.plan}],
        payment_behavior="default_incomplete",
        metadata={"account_uid": ACCOUNT},
    )
    await webhooks.settle()
    started = json_of(await buyer.ask_to_subscribe())
    [pending] = objects(sandbox, "/v1/subscriptions", status="incomplete")
    assert pending["id"] == started["subscription_id"]


@pytest.mark.parametrize("request_kind", ["subscribe", "cancel"])
@pytest.mark.gen_test
async def test_pending_subscription_ends_when_another_one_is_running(
    buyer: Buyer, webhooks: Webhooks, sandbox: Sandbox, shop: Shop, request_kind: str
) -> None:
    started = json_of(await buyer.ask_to_subscribe())
    subscribe_elsewhere(sandbox, shop.plan)
    await webhooks.settle()
    if request_kind == "subscribe":
        assert_conflict(await buyer.ask_to_subscribe())
    else:
        assert json_of(await cancel(buyer.api))["cancel_at_period_end"] is True
    pending = sandbox.get(started["subscription_id"])
    assert pending["status"] == "incomplete_expired"


@pytest.mark.gen_test
async def test_customer_shared_by_two_accounts_belongs_to_neither(
    buyer: Buyer,
    stranger: Buyer,
    service: Service,
    webhooks: Webhooks,
    sandbox: Sandbox,
    shop: Shop,
) -> None:
    own_subscription = subscribe_elsewhere(sandbox, shop.plan, ACCOUNT)
    shared_customer = sandbox.get(own_subscription)["customer"]
    [method] = objects(sandbox, "/v1/payment_methods", customer=shared_customer, type="card")
    other_subscription = sandbox.call(
        "POST",
        "/v1/subscriptions",
        customer=shared_customer,
        items=[{"price": shop.plan}],
        default_payment_method=method["id"],
        metadata={"account_uid": OTHER_ACCOUNT},
    )["id"]
    await webhooks.settle()
    assert (await buyer.ask_to_buy()).code == 201
    assert await service.store.customers.get(ACCOUNT) != shared_customer
    # The metadata of a subscription decides, even if the account had the customer before.
    await service.store._database.customers.update_one(
        {"_id": ACCOUNT}, {"$set": {"customer_id": shared_customer}}
    )
    sandbox.call("POST", f"/v1/subscriptions/{other_subscription}", metadata={"note": "changed"})
    await webhooks.settle()
    assert await service.store.subscriptions.account_of(other_subscription) == OTHER_ACCOUNT
    assert_conflict(await stranger.ask_to_subscribe())
    assert (await cancel(buyer.api)).code == 200
    assert sandbox.get(own_subscription)["cancel_at_period_end"] is True
    assert sandbox.get(other_subscription)["cancel_at_period_end"] is False


@pytest.mark.gen_test
async def test_listing_subscriptions_keeps_plan_name(
    buyer: Buyer, webhooks: Webhooks, sandbox: Sandbox
) -> None:
    await buyer.subscribe()
    assert (await buyer.plan())["plan_name"] == "Datalayer Monthly"
    await buyer.ask_to_subscribe()  # refused after listing the subscriptions at Stripe
    assert (await buyer.plan())["plan_name"] == "Datalayer Monthly"


@pytest.mark.parametrize("wanted_first", [True, False])
@pytest.mark.gen_test
async def test_only_one_of_several_pending_subscriptions_can_be_paid(
    buyer: Buyer, webhooks: Webhooks, sandbox: Sandbox, shop: Shop, wanted_first: bool
) -> None:
    other = sandbox.create_price(
        product=shop.plan_product, unit_amount=9900, currency="usd", recurring={"interval": "month"}
    )["id"]
    await buyer.ask_to_buy()
    prices = (shop.plan, other) if wanted_first else (other, shop.plan)
    await buyer.ask_to_subscribe(prices[0])
    [customer] = objects(sandbox, "/v1/customers")
    sandbox.call(  # by another system, which ends no other subscription
        "POST",
        "/v1/subscriptions",
        customer=customer["id"],
        items=[{"price": prices[1]}],
        payment_behavior="default_incomplete",
        metadata={"account_uid": ACCOUNT},
    )
    await webhooks.settle()
    assert (await buyer.ask_to_subscribe(shop.plan)).code == 201
    [pending] = objects(sandbox, "/v1/subscriptions", status="incomplete")
    assert pending["items"]["data"][0]["price"]["id"] == shop.plan
