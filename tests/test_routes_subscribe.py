"""Subscribing, cancelling, resuming, and renewing the card."""

import asyncio

import pytest
from tornado.httpclient import HTTPResponse

from datalayer_stripe.sandbox import Sandbox, SandboxCardError, StripeError
from datalayer_stripe.sandbox.webhooks import Webhooks
from datalayer_stripe.service import Service
from tests.support.app import ACCOUNT, Api, json_of
from tests.support.shop import (
    DECLINED_CARD,
    IAM_ROUTES,
    STRIPE_ROUTES,
    Buyer,
    Shop,
    calls,
    objects,
    rows,
    subscribe_elsewhere,
)

SETUP_INTENT = f"{STRIPE_ROUTES}/subscription/resume/setup-intent"


async def cancel(api: Api, base: str = "subscription") -> HTTPResponse:
    return await api.post(f"{IAM_ROUTES}/{base}/cancel")


async def resume(api: Api, base: str = "subscription") -> HTTPResponse:
    return await api.post(f"{IAM_ROUTES}/{base}/resume")


def assert_conflict(answer: HTTPResponse) -> None:
    assert (answer.code, json_of(answer)["code"]) == (409, "conflict")


def subscriptions(sandbox: Sandbox) -> list[str]:
    return [found["id"] for found in objects(sandbox, "/v1/subscriptions", status="all")]


@pytest.mark.gen_test(timeout=30)
async def test_the_browser_pays_the_first_invoice(
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
@pytest.mark.gen_test(timeout=30)
async def test_to_subscribe_twice_at_once_is_to_subscribe_once(
    buyer: Buyer, sandbox: Sandbox, quick_retries: None
) -> None:
    sandbox.api.delay(0.01, path_prefix="/v1/subscriptions")
    answers = await asyncio.gather(*(buyer.ask_to_subscribe() for _ in range(4)))
    assert {answer.code for answer in answers} == {201}
    assert {json_of(answer)["subscription_id"] for answer in answers} == set(subscriptions(sandbox))
    assert len({json_of(answer)["client_secret"] for answer in answers}) == 1
    assert len(subscriptions(sandbox)) == 1


@pytest.mark.gen_test(timeout=30)
async def test_a_pending_subscription_is_used_again(
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


@pytest.mark.gen_test(timeout=30)
async def test_a_pending_subscription_of_another_price_is_not_the_one_wanted(
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


@pytest.mark.parametrize("held", [False, True])
@pytest.mark.parametrize("state", ["active", "past_due", "ends with its period"])
@pytest.mark.gen_test(timeout=30)
async def test_nobody_subscribes_twice(
    buyer: Buyer, sandbox: Sandbox, webhooks: Webhooks, state: str, held: bool
) -> None:
    if held:
        webhooks.hold()
    subscription_id = await buyer.subscribe()
    if state == "past_due":
        sandbox.renew(subscription_id, fail=True)
    elif state != "active":
        sandbox.cancel_subscription(subscription_id, now=False)
    await webhooks.settle()
    assert_conflict(await buyer.ask_to_subscribe())
    assert subscriptions(sandbox) == [subscription_id]


@pytest.mark.gen_test(timeout=30)
async def test_who_has_ended_may_subscribe_anew(
    buyer: Buyer, sandbox: Sandbox, webhooks: Webhooks
) -> None:
    first = await buyer.subscribe()
    sandbox.cancel_subscription(first)
    await webhooks.settle()
    second = await buyer.subscribe()
    assert second != first
    assert (await buyer.plan())["id"] == second


@pytest.mark.parametrize("base", ["subscription", "plans"])
@pytest.mark.gen_test(timeout=30)
async def test_cancel_resume_and_cancel_are_three_requests(
    buyer: Buyer, sandbox: Sandbox, webhooks: Webhooks, base: str
) -> None:
    subscription_id = await buyer.subscribe()
    for change, ends in ((cancel, True), (resume, False), (cancel, True), (resume, False)):
        answer = json_of(await change(buyer.api, base))
        assert (answer["status"], answer["cancel_at_period_end"]) == ("active", ends)
        assert sandbox.get(subscription_id)["cancel_at_period_end"] is ends
        assert (await buyer.plan())["cancel_at_period_end"] is ends, "before any event comes"
        await webhooks.settle()
        assert (await buyer.plan())["cancel_at_period_end"] is ends
    updates = [call for call in sandbox.api.calls if call[:2] == update(subscription_id)]
    assert len({call.idempotency_key for call in updates}) == 4


def update(subscription_id: str) -> tuple[str, str]:
    return "POST", f"/v1/subscriptions/{subscription_id}"


@pytest.mark.gen_test(timeout=30)
async def test_to_cancel_twice_is_to_cancel(
    buyer: Buyer, sandbox: Sandbox, webhooks: Webhooks
) -> None:
    await buyer.subscribe()
    assert {(await cancel(buyer.api)).code for _ in range(2)} == {200}
    assert (await buyer.plan())["cancel_at_period_end"] is True


@pytest.mark.gen_test(timeout=30)
async def test_an_end_that_was_set_by_date_can_be_taken_back(
    buyer: Buyer, sandbox: Sandbox, webhooks: Webhooks, service: Service
) -> None:
    subscription_id = await buyer.subscribe()
    theirs = sandbox.get(subscription_id)
    # As the billing portal may do it.
    theirs["cancel_at"] = theirs["items"]["data"][0]["current_period_end"]
    sandbox.put(theirs)
    await service.subscriptions.refresh(subscription_id)
    assert (await buyer.plan())["cancel_at_period_end"] is True
    changes = []

    async def changed(_: str, change: dict, *, idempotency_key: str) -> dict:
        changes.append(change)
        return {**await service.stripe.retrieve_subscription(subscription_id), "cancel_at": None}

    service.stripe.update_subscription = changed  # type: ignore[method-assign]
    assert json_of(await resume(buyer.api))["cancel_at_period_end"] is False
    assert changes == [{"cancel_at": ""}]


@pytest.mark.parametrize("change", [cancel, resume, lambda api: api.post(SETUP_INTENT)])
@pytest.mark.parametrize("state", ["none", "pending", "canceled"])
@pytest.mark.gen_test(timeout=30)
async def test_without_a_running_subscription_there_is_nothing_to_change(
    buyer: Buyer, sandbox: Sandbox, webhooks: Webhooks, state: str, change
) -> None:
    if state == "pending":
        await buyer.ask_to_subscribe()
    elif state == "canceled":
        sandbox.cancel_subscription(await buyer.subscribe())
    await webhooks.settle()
    assert_conflict(await change(buyer.api))


@pytest.mark.parametrize("gone", [False, True])
@pytest.mark.parametrize("change", [cancel, resume])
@pytest.mark.gen_test(timeout=30)
async def test_it_has_ended_at_stripe_and_we_are_not_told_yet(
    buyer: Buyer, sandbox: Sandbox, webhooks: Webhooks, change, gone: bool
) -> None:
    subscription_id = await buyer.subscribe()
    webhooks.hold()
    sandbox.cancel_subscription(subscription_id)
    if gone:  # as test data that was deleted
        sandbox._backend.store.remove(sandbox._backend.store.get("subscription", subscription_id))
    assert_conflict(await change(buyer.api))
    if not gone:
        assert (await buyer.plan())["status"] == "canceled"


@pytest.mark.gen_test(timeout=30)
async def test_who_has_just_subscribed_may_cancel(
    buyer: Buyer, sandbox: Sandbox, webhooks: Webhooks
) -> None:
    webhooks.hold()
    subscription_id = await buyer.subscribe()
    assert (await cancel(buyer.api)).code == 200
    assert sandbox.get(subscription_id)["cancel_at_period_end"] is True


@pytest.mark.gen_test(timeout=30)
async def test_a_renewed_card_pays_from_now_on(
    buyer: Buyer, sandbox: Sandbox, webhooks: Webhooks
) -> None:
    subscription_id = await buyer.subscribe()
    before = sandbox.get(subscription_id)["default_payment_method"]
    sandbox.renew(subscription_id, fail=True)
    secret = json_of(await buyer.api.post(SETUP_INTENT))["client_secret"]
    with pytest.raises(SandboxCardError):
        sandbox.confirm_setup(secret, DECLINED_CARD)
    await webhooks.settle()
    assert sandbox.get(subscription_id)["default_payment_method"] == before
    intent = sandbox.confirm_setup(secret, "5555555555554444")
    await webhooks.settle()
    assert intent["payment_method"] != before
    assert sandbox.get(subscription_id)["default_payment_method"] == intent["payment_method"]
    assert {attempt.status for attempt in webhooks.attempts} == {200}


@pytest.mark.gen_test(timeout=30)
async def test_a_renewed_card_of_an_ended_subscription_is_rejected_for_good(
    buyer: Buyer, service: Service, sandbox: Sandbox, webhooks: Webhooks
) -> None:
    subscription_id = await buyer.subscribe()
    secret = json_of(await buyer.api.post(SETUP_INTENT))["client_secret"]
    sandbox.cancel_subscription(subscription_id)
    sandbox.confirm_setup(secret)
    await webhooks.settle()
    assert {attempt.status for attempt in webhooks.attempts} == {200}
    [row] = [row for row in await rows(service, "events") if row["type"].startswith("setup")]
    assert row["handlers"]["renewed-card"]["status"] == "rejected"


@pytest.mark.parametrize("named", ["account_uid", "subscription_id"])
@pytest.mark.gen_test(timeout=30)
async def test_another_systems_card_changes_no_subscription(
    buyer: Buyer, sandbox: Sandbox, shop: Shop, webhooks: Webhooks, named: str
) -> None:
    foreign = sandbox.create_price(
        product=shop.other_product, unit_amount=900, recurring={"interval": "month"}
    )["id"]
    theirs = subscribe_elsewhere(sandbox, foreign, account="")
    metadata = {"subscription_id": theirs}
    if named == "account_uid":
        metadata["account_uid"] = ACCOUNT
    secret = sandbox.call(
        "POST",
        "/v1/setup_intents",
        customer=sandbox.get(theirs)["customer"],
        metadata=metadata,
    )["client_secret"]
    sandbox.confirm_setup(secret)
    await webhooks.settle()
    assert calls(sandbox, *update(theirs)) == 0
    assert {attempt.status for attempt in webhooks.attempts} == {200}


@pytest.mark.gen_test(timeout=30)
async def test_who_changes_plans_before_paying_can_pay_for_one_only(
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


@pytest.mark.gen_test(timeout=30)
async def test_two_plans_asked_for_at_once_end_in_one(
    buyer: Buyer, webhooks: Webhooks, sandbox: Sandbox, shop: Shop, quick_retries: None
) -> None:
    other = sandbox.create_price(
        product=shop.plan_product, unit_amount=9900, currency="usd", recurring={"interval": "month"}
    )["id"]
    answers = await asyncio.gather(*(buyer.ask_to_subscribe(price) for price in (None, other) * 4))
    assert {answer.code for answer in answers} <= {201, 409}
    pending = objects(sandbox, "/v1/subscriptions", status="incomplete")
    assert len(pending) == 1


@pytest.mark.gen_test(timeout=30)
async def test_a_refusal_of_a_change_is_stripes_own_and_no_end(
    buyer: Buyer, webhooks: Webhooks, sandbox: Sandbox
) -> None:
    await buyer.subscribe()
    sandbox.api.refuse(status=400, times=1, path_prefix="/v1/subscriptions/")
    answer = await cancel(buyer.api)
    assert (answer.code, json_of(answer)["code"]) == (400, "invalid_request")
    answer = await resume(buyer.api)
    assert (answer.code, json_of(answer)["code"]) == (409, "conflict"), "nothing is scheduled"


@pytest.mark.gen_test(timeout=30)
async def test_a_late_event_brings_no_old_card_back(
    buyer: Buyer, webhooks: Webhooks, sandbox: Sandbox
) -> None:
    subscription_id = await buyer.subscribe()
    webhooks.hold()
    for card in ("4242424242424242", "5555555555554444"):
        secret = json_of(await buyer.api.post(SETUP_INTENT))["client_secret"]
        saved = sandbox.confirm_setup(secret, card=card)
    webhooks.release("reversed")
    await webhooks.settle()
    kept = sandbox.get(subscription_id)["default_payment_method"]
    assert kept == saved["payment_method"]


@pytest.mark.gen_test(timeout=30)
async def test_a_list_does_not_forget_the_plans_name(
    buyer: Buyer, webhooks: Webhooks, sandbox: Sandbox
) -> None:
    await buyer.subscribe()
    assert (await buyer.plan())["plan_name"] == "Datalayer Monthly"
    await buyer.ask_to_subscribe()  # refused, after a look at Stripe's list
    assert (await buyer.plan())["plan_name"] == "Datalayer Monthly"


@pytest.mark.parametrize("asked_first", [True, False])
@pytest.mark.gen_test(timeout=30)
async def test_of_several_pending_subscriptions_one_can_be_paid(
    buyer: Buyer, webhooks: Webhooks, sandbox: Sandbox, shop: Shop, asked_first: bool
) -> None:
    other = sandbox.create_price(
        product=shop.plan_product, unit_amount=9900, currency="usd", recurring={"interval": "month"}
    )["id"]
    await buyer.ask_to_buy()
    prices = (shop.plan, other) if asked_first else (other, shop.plan)
    await buyer.ask_to_subscribe(prices[0])
    [customer] = objects(sandbox, "/v1/customers")
    sandbox.call(  # by another system, which takes nothing back
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
