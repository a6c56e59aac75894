"""Subscribe, cancel, resume, and renew the card."""

import asyncio
import json
from typing import Literal

import pytest
from tornado.httpclient import HTTPResponse

from datalayer_stripe.sandbox import Sandbox, SandboxCardError, StripeError
from datalayer_stripe.sandbox.delivery.webhooks import Webhooks
from datalayer_stripe.service import Service
from tests.support.app import ACCOUNT, Api, Clock, json_of
from tests.support.shop import (
    DECLINED_CARD,
    IAM_ROUTES,
    OTHER_ACCOUNT,
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


@pytest.mark.parametrize("base", ["subscription", "plans"])
@pytest.mark.gen_test
async def test_repeated_cancel_and_resume_have_separate_idempotency_keys(
    buyer: Buyer, sandbox: Sandbox, webhooks: Webhooks, base: str
) -> None:
    subscription_id = await buyer.subscribe()
    for change, ends in ((cancel, True), (resume, False), (cancel, True), (resume, False)):
        answer = json_of(await change(buyer.api, base))
        assert (answer["status"], answer["cancel_at_period_end"]) == ("active", ends)
        assert sandbox.get(subscription_id)["cancel_at_period_end"] is ends
        assert (await buyer.plan())["cancel_at_period_end"] is ends, (
            "before the webhook of the change"
        )
        await webhooks.settle()
        assert (await buyer.plan())["cancel_at_period_end"] is ends
    updates = [call for call in sandbox.api.calls if call[:2] == update(subscription_id)]
    assert len({call.idempotency_key for call in updates}) == 4


def update(subscription_id: str) -> tuple[str, str]:
    return "POST", f"/v1/subscriptions/{subscription_id}"


@pytest.mark.gen_test
async def test_cancel_is_idempotent(buyer: Buyer, sandbox: Sandbox, webhooks: Webhooks) -> None:
    await buyer.subscribe()
    assert {(await cancel(buyer.api)).code for _ in range(2)} == {200}
    assert (await buyer.plan())["cancel_at_period_end"] is True


@pytest.mark.gen_test
async def test_resume_undoes_cancellation_that_was_scheduled_by_date(
    buyer: Buyer, sandbox: Sandbox, webhooks: Webhooks, service: Service
) -> None:
    subscription_id = await buyer.subscribe()
    subscription = sandbox.get(subscription_id)
    # The billing portal may schedule a cancellation by date.
    subscription["cancel_at"] = subscription["items"]["data"][0]["current_period_end"]
    sandbox.put(subscription)
    await service.subscriptions.refresh(subscription_id)
    assert (await buyer.plan())["cancel_at_period_end"] is True
    changes = []

    async def update_subscription(_: str, change: dict, *, idempotency_key: str) -> dict:
        changes.append(change)
        return {**await service.stripe.retrieve_subscription(subscription_id), "cancel_at": None}

    service.stripe.update_subscription = update_subscription  # type: ignore[method-assign]
    assert json_of(await resume(buyer.api))["cancel_at_period_end"] is False
    assert changes == [{"cancel_at": ""}]


async def renew_card(api: Api) -> HTTPResponse:
    return await api.post(SETUP_INTENT)


@pytest.mark.parametrize(
    ("change", "state"),
    [
        (cancel, "none"),
        (cancel, "canceled"),
        *((change, state) for change in (resume, renew_card) for state in ("none", "pending")),
        *((change, "canceled") for change in (resume, renew_card)),
    ],
)
@pytest.mark.gen_test
async def test_change_without_running_subscription_is_conflict(
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
@pytest.mark.gen_test
async def test_change_of_subscription_that_ended_before_webhook_is_conflict(
    buyer: Buyer, sandbox: Sandbox, webhooks: Webhooks, change, gone: bool
) -> None:
    subscription_id = await buyer.subscribe()
    webhooks.hold()
    sandbox.cancel_subscription(subscription_id)
    if gone:  # like deleted test data
        sandbox.backend.store.remove(sandbox.backend.store.get("subscription", subscription_id))
    assert_conflict(await change(buyer.api))
    if not gone:
        assert (await buyer.plan())["status"] == "canceled"


@pytest.mark.gen_test
async def test_cancel_works_before_webhook_of_new_subscription(
    buyer: Buyer, sandbox: Sandbox, webhooks: Webhooks
) -> None:
    webhooks.hold()
    subscription_id = await buyer.subscribe()
    assert (await cancel(buyer.api)).code == 200
    assert sandbox.get(subscription_id)["cancel_at_period_end"] is True


@pytest.mark.gen_test
async def test_renewed_card_becomes_default_payment_method(
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


@pytest.mark.gen_test
async def test_renewed_card_of_ended_subscription_is_rejected(
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
@pytest.mark.gen_test
async def test_setup_intent_of_another_system_changes_no_subscription(
    buyer: Buyer, sandbox: Sandbox, shop: Shop, webhooks: Webhooks, named: str
) -> None:
    foreign = sandbox.create_price(
        product=shop.other_product, unit_amount=900, recurring={"interval": "month"}
    )["id"]
    subscription_id = subscribe_elsewhere(sandbox, foreign, account="")
    metadata = {"subscription_id": subscription_id}
    if named == "account_uid":
        metadata["account_uid"] = ACCOUNT
    secret = sandbox.call(
        "POST",
        "/v1/setup_intents",
        customer=sandbox.get(subscription_id)["customer"],
        metadata=metadata,
    )["client_secret"]
    sandbox.confirm_setup(secret)
    await webhooks.settle()
    assert calls(sandbox, *update(subscription_id)) == 0
    assert {attempt.status for attempt in webhooks.attempts} == {200}


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
async def test_change_refused_by_stripe_is_400_and_schedules_no_cancellation(
    buyer: Buyer, webhooks: Webhooks, sandbox: Sandbox
) -> None:
    await buyer.subscribe()
    sandbox.api.refuse(status=400, times=1, path_prefix="/v1/subscriptions/")
    answer = await cancel(buyer.api)
    assert (answer.code, json_of(answer)["code"]) == (400, "invalid_request")
    answer = await resume(buyer.api)
    assert (answer.code, json_of(answer)["code"]) == (409, "conflict"), "nothing is scheduled"


@pytest.mark.gen_test
async def test_late_event_does_not_restore_older_card(
    buyer: Buyer, webhooks: Webhooks, sandbox: Sandbox, clock: Clock
) -> None:
    subscription_id = await buyer.subscribe()
    webhooks.hold()
    for card in ("4242424242424242", "5555555555554444"):
        secret = json_of(await renew_card(buyer.api))["client_secret"]
        saved = sandbox.confirm_setup(secret, card=card)
        clock.advance(seconds=1)  # a person needs longer to enter a card
    webhooks.release("reversed")
    await webhooks.settle()
    default = sandbox.get(subscription_id)["default_payment_method"]
    assert default == saved["payment_method"]


@pytest.mark.gen_test
async def test_setup_intent_accepts_only_cards(
    buyer: Buyer, webhooks: Webhooks, sandbox: Sandbox
) -> None:
    await buyer.subscribe()
    await renew_card(buyer.api)
    [intent] = objects(sandbox, "/v1/setup_intents")
    assert intent["allowed_payment_method_types"] == ["card"], "bank accounts are not accepted"


@pytest.mark.parametrize("order", ["sent", "reversed"])
@pytest.mark.gen_test
async def test_card_confirmed_last_is_used_even_if_its_form_was_opened_first(
    buyer: Buyer,
    webhooks: Webhooks,
    sandbox: Sandbox,
    clock: Clock,
    order: Literal["sent", "reversed"],
) -> None:
    subscription_id = await buyer.subscribe()
    older = json_of(await renew_card(buyer.api))["client_secret"]
    clock.advance(seconds=1)
    newer = json_of(await renew_card(buyer.api))["client_secret"]
    webhooks.hold()
    sandbox.confirm_setup(newer)
    clock.advance(seconds=1)
    confirmed_last = sandbox.confirm_setup(older, card="5555555555554444")
    webhooks.release(order)
    await webhooks.settle()
    default = sandbox.get(subscription_id)["default_payment_method"]
    assert default == confirmed_last["payment_method"]


@pytest.mark.mongod
@pytest.mark.gen_test
async def test_card_confirmed_last_is_used_when_two_events_are_processed_at_once(
    buyer: Buyer, webhooks: Webhooks, sandbox: Sandbox, clock: Clock, service: Service, monkeypatch
) -> None:
    subscription_id = await buyer.subscribe()
    webhooks.hold()
    secrets = [json_of(await renew_card(buyer.api))["client_secret"] for _ in range(2)]
    first = sandbox.confirm_setup(secrets[0])
    clock.advance(seconds=1)
    last = sandbox.confirm_setup(secrets[1], card="5555555555554444")
    update_subscription = service.stripe.update_subscription
    first_may_continue = asyncio.Event()

    async def delay_first_update(
        subscription_id: str, changes: dict[str, str], **options: str
    ) -> dict[str, object]:
        if changes["default_payment_method"] == first["payment_method"]:
            await first_may_continue.wait()
        answer = await update_subscription(subscription_id, changes, **options)
        first_may_continue.set()
        return answer

    monkeypatch.setattr(service.stripe, "update_subscription", delay_first_update)
    events = [event for event in sandbox.events if event["type"] == "setup_intent.succeeded"]
    answers = await asyncio.gather(
        *(buyer.api.deliver(json.dumps(event).encode()) for event in events)
    )
    assert [json_of(answer)["outcome"] for answer in answers] == ["processed", "processed"]
    assert sandbox.get(subscription_id)["default_payment_method"] == last["payment_method"]


@pytest.mark.parametrize("base", ["subscription", "plans"])
@pytest.mark.gen_test
async def test_cancel_ends_pending_subscription_at_once(
    buyer: Buyer, webhooks: Webhooks, sandbox: Sandbox, base: str
) -> None:
    started = json_of(await buyer.ask_to_subscribe())
    answer = await cancel(buyer.api, base)
    assert answer.code == 200, answer.body
    assert json_of(answer)["status"] == "canceled"
    assert json_of(answer)["cancel_at_period_end"] is False
    with pytest.raises(StripeError):
        sandbox.confirm_payment(started["client_secret"])
    assert (await buyer.plan())["status"] == "incomplete_expired"
    await buyer.subscribe()
    assert (await buyer.plan())["status"] == "active"


@pytest.mark.gen_test
async def test_cancel_of_pending_subscription_that_was_just_paid_is_scheduled(
    buyer: Buyer, webhooks: Webhooks, sandbox: Sandbox
) -> None:
    webhooks.hold()
    subscription_id = await buyer.subscribe()
    answer = json_of(await cancel(buyer.api))
    assert (answer["status"], answer["cancel_at_period_end"]) == ("active", True)
    assert sandbox.get(subscription_id)["cancel_at_period_end"] is True


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
async def test_cancel_ends_the_subscriptions_of_all_customers(
    buyer: Buyer, webhooks: Webhooks, sandbox: Sandbox, shop: Shop
) -> None:
    running = [await buyer.subscribe(), subscribe_elsewhere(sandbox, shop.plan)]
    await webhooks.settle()
    assert (await cancel(buyer.api)).code == 200
    assert all(sandbox.get(subscription)["cancel_at_period_end"] for subscription in running)


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
