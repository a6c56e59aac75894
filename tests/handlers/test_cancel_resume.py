"""Cancel and resume a subscription."""

import pytest

from datalayer_stripe.sandbox import Sandbox, StripeError
from datalayer_stripe.sandbox.delivery.webhooks import Webhooks
from datalayer_stripe.service import Service
from tests.handlers.subscription_requests import (
    assert_conflict,
    cancel,
    renew_card,
    resume,
    update_call,
)
from tests.support.app import json_of
from tests.support.shop import (
    Buyer,
    Shop,
    subscribe_elsewhere,
)


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
    updates = [call for call in sandbox.api.calls if call[:2] == update_call(subscription_id)]
    assert len({call.idempotency_key for call in updates}) == 4


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
async def test_change_refused_by_stripe_is_400_and_schedules_no_cancellation(
    buyer: Buyer, webhooks: Webhooks, sandbox: Sandbox
) -> None:
    await buyer.subscribe()
    sandbox.api.refuse(status=400, times=1, path_prefix="/v1/subscriptions/")
    answer = await cancel(buyer.api)
    assert (answer.code, json_of(answer)["code"]) == (400, "invalid_request")
    answer = await resume(buyer.api)
    assert (answer.code, json_of(answer)["code"]) == (409, "conflict"), "nothing is scheduled"


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
async def test_cancel_ends_the_subscriptions_of_all_customers(
    buyer: Buyer, webhooks: Webhooks, sandbox: Sandbox, shop: Shop
) -> None:
    running = [await buyer.subscribe(), subscribe_elsewhere(sandbox, shop.plan)]
    await webhooks.settle()
    assert (await cancel(buyer.api)).code == 200
    assert all(sandbox.get(subscription)["cancel_at_period_end"] for subscription in running)
