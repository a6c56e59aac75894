"""Snapshots equal Stripe's subscriptions, in any order and API version of the events."""

import asyncio
import json
import random
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from datalayer_stripe.sandbox import Sandbox, SandboxCardError
from datalayer_stripe.sandbox.api.versions import render
from datalayer_stripe.sandbox.delivery.webhooks import Webhooks
from datalayer_stripe.service import Service
from tests.support.app import ACCOUNT, WEBHOOK_SECRET, Api, json_of
from tests.support.shop import (
    DECLINED_CARD,
    IAM_ROUTES,
    WEBHOOK_ROUTE,
    Buyer,
    Shop,
    rows,
    subscribe_elsewhere,
)

OLD_SHAPE, NEW_SHAPE = "2024-06-20", "2026-10-28.endive"


def moment(seconds: int | None) -> datetime | None:
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC)


def expected_snapshot(sandbox: Sandbox, subscription_id: str) -> dict[str, Any]:
    """Return the expected fields of a snapshot, from Stripe's present object."""
    theirs = sandbox.get(subscription_id)
    [item] = theirs["items"]["data"]
    invoice = sandbox.get(theirs["latest_invoice"])
    return {
        "account_uid": ACCOUNT,
        "customer_id": theirs["customer"],
        "status": theirs["status"],
        "price_id": item["price"]["id"],
        "product_id": item["price"]["product"],
        "amount": item["price"]["unit_amount"],
        "currency": item["price"]["currency"],
        "interval": item["price"]["recurring"]["interval"],
        "interval_count": item["price"]["recurring"]["interval_count"],
        "current_period_start": moment(item["current_period_start"]),
        "current_period_end": moment(item["current_period_end"]),
        "cancel_at_period_end": theirs["cancel_at_period_end"],
        "cancel_at": moment(theirs["cancel_at"]),
        "canceled_at": moment(theirs["canceled_at"]),
        "ended_at": moment(theirs["ended_at"]),
        "created_at": moment(theirs["created"]),
        "latest_invoice": {
            "id": invoice["id"],
            "status": invoice["status"],
            "amount": invoice["total"],
            "currency": invoice["currency"],
            "paid_at": moment(invoice["status_transitions"]["paid_at"]),
            "attempt_count": invoice["attempt_count"],
        },
    }


async def assert_snapshot_is_current(
    service: Service, sandbox: Sandbox, subscription_id: str
) -> dict[str, Any]:
    """Check that the stored snapshot equals Stripe's object, and return it."""
    found = await service.store._database.subscriptions.find_one({"_id": subscription_id})
    theirs = expected_snapshot(sandbox, subscription_id)
    assert {name: found.get(name) for name in theirs} == theirs
    return dict(found)


def pay(sandbox: Sandbox, subscription_id: str) -> None:
    sandbox.pay_invoice(sandbox.get(subscription_id)["latest_invoice"])


def schedule_cancellation(sandbox: Sandbox, subscription_id: str) -> None:
    sandbox.cancel_subscription(subscription_id, now=False)


def resume(sandbox: Sandbox, subscription_id: str) -> None:
    sandbox.call("POST", f"/v1/subscriptions/{subscription_id}", cancel_at_period_end=False)


# Steps after the first payment, with the expected status and `cancel_at_period_end`.
LIFE: list[tuple[Callable[[Sandbox, str], Any], str, bool]] = [
    (lambda sandbox, sub: sandbox.renew(sub), "active", False),
    (lambda sandbox, sub: sandbox.renew(sub, fail=True), "past_due", False),
    (pay, "active", False),
    (schedule_cancellation, "active", True),
    (resume, "active", False),
    (schedule_cancellation, "active", True),
    (lambda sandbox, sub: sandbox.renew(sub), "canceled", True),
]


@pytest.mark.gen_test
async def test_route_shows_each_state_of_a_subscription(
    buyer: Buyer, service: Service, sandbox: Sandbox, webhooks: Webhooks
) -> None:
    assert (await buyer.plan())["status"] == "none"
    started = json_of(await buyer.ask_to_subscribe())
    subscription_id = started["subscription_id"]
    await webhooks.settle()
    assert (await buyer.plan())["status"] == "incomplete"
    with pytest.raises(SandboxCardError):
        sandbox.confirm_payment(started["client_secret"], DECLINED_CARD)
    await webhooks.settle()
    shown = await buyer.plan()
    assert (shown["status"], shown["is_eligible"]) == ("incomplete", False)
    assert shown["latest_invoice"]["status"] == "open"
    sandbox.confirm_payment(started["client_secret"])
    await webhooks.settle()
    await assert_snapshot_is_current(service, sandbox, subscription_id)
    assert (await buyer.plan())["is_eligible"] is True
    for step, status, ends in LIFE:
        step(sandbox, subscription_id)
        await webhooks.settle()
        await assert_snapshot_is_current(service, sandbox, subscription_id)
        shown = await buyer.plan()
        assert (shown["status"], shown["cancel_at_period_end"]) == (status, ends)
        assert shown["is_eligible"] is (status == "active")
    assert {attempt.status for attempt in webhooks.attempts} == {200}


@pytest.mark.parametrize(
    "type",
    [
        "customer.subscription.created",
        "customer.subscription.updated",
        "customer.subscription.deleted",
        "invoice.paid",
        "invoice.payment_failed",
    ],
)
@pytest.mark.parametrize("api_version", [OLD_SHAPE, NEW_SHAPE])
@pytest.mark.gen_test
async def test_each_event_type_updates_the_snapshot_in_each_api_version(
    buyer: Buyer, service: Service, sandbox: Sandbox, type: str, api_version: str
) -> None:
    started = json_of(await buyer.ask_to_subscribe())
    subscription_id = started["subscription_id"]
    await service.store._database.subscriptions.delete_many({})
    url = buyer.api.url + WEBHOOK_ROUTE
    sandbox.create_webhook_endpoint(url, WEBHOOK_SECRET, [type], api_version)
    sandbox.confirm_payment(started["client_secret"])
    sandbox.renew(subscription_id, fail=True)
    sandbox.cancel_subscription(subscription_id)
    if type.endswith("created"):
        [event] = [event for event in sandbox.events if event["type"] == type]
        await sandbox.webhooks.deliver(event["id"])
    await sandbox.webhooks.settle()
    attempts = sandbox.webhooks.attempts
    assert {(attempt.type, attempt.status) for attempt in attempts} == {(type, 200)}
    stored = await assert_snapshot_is_current(service, sandbox, subscription_id)
    assert stored["status"] == "canceled"
    assert {row["api_version"] for row in await rows(service, "events")} == {api_version}


def test_sandbox_renders_both_api_versions(sandbox: Sandbox, shop: Shop) -> None:
    made = sandbox.get(subscribe_elsewhere(sandbox, shop.plan))
    invoice = sandbox.get(made["latest_invoice"])
    store = sandbox.backend.store
    assert "current_period_end" not in made
    assert "current_period_end" in render(store, made, OLD_SHAPE)
    assert invoice["parent"]["subscription_details"]["subscription"] == made["id"]
    assert render(store, invoice, OLD_SHAPE)["subscription"] == made["id"]


@pytest.mark.mongod
@pytest.mark.parametrize("seed", range(4))
@pytest.mark.gen_test
async def test_snapshot_is_current_after_shuffled_duplicate_and_late_events(
    buyer: Buyer,
    service: Service,
    sandbox: Sandbox,
    webhooks: Webhooks,
    monkeypatch: pytest.MonkeyPatch,
    seed: int,
) -> None:
    dice = random.Random(seed)
    subscription_id = await buyer.subscribe()
    retrieve = service.stripe.retrieve_subscription

    async def slow_retrieve(wanted: str) -> dict[str, Any]:
        seen = await retrieve(wanted)
        if seen["status"] != "canceled":
            await asyncio.sleep(dice.random() * 0.1)  # the answer becomes outdated
        return seen

    monkeypatch.setattr(service.stripe, "retrieve_subscription", slow_retrieve)
    webhooks.hold()
    waiting: list[str] = []
    deliveries = []
    for step, _, _ in LIFE:
        known = len(sandbox.events)
        step(sandbox, subscription_id)
        new = [event for event in sandbox.events[known:] if event["type"] in service.registry.types]
        waiting += [event["id"] for event in new] * 2
        dice.shuffle(waiting)
        late = len(waiting) // 3
        waiting, now = waiting[:late], waiting[late:]
        deliveries += [asyncio.create_task(webhooks.deliver(event_id)) for event_id in now]
        await buyer.plan()  # some deliveries run meanwhile
    deliveries += [asyncio.create_task(webhooks.deliver(event_id)) for event_id in waiting]
    attempts = await asyncio.gather(*deliveries)
    assert {attempt.status for attempt in attempts} == {200}
    stored = await assert_snapshot_is_current(service, sandbox, subscription_id)
    assert stored["status"] == "canceled"
    webhooks.release("shuffled", seed=seed)
    await webhooks.settle()
    await assert_snapshot_is_current(service, sandbox, subscription_id)


@pytest.mark.mongod
@pytest.mark.gen_test
async def test_outdated_fetch_does_not_overwrite_a_newer_snapshot(
    buyer: Buyer,
    service: Service,
    sandbox: Sandbox,
    webhooks: Webhooks,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    subscription_id = await buyer.subscribe()
    retrieve = service.stripe.retrieve_subscription
    fetched, may_write = asyncio.Event(), asyncio.Event()

    async def slow_retrieve(wanted: str) -> dict[str, Any]:
        seen = await retrieve(wanted)
        monkeypatch.setattr(service.stripe, "retrieve_subscription", retrieve)
        fetched.set()
        await may_write.wait()
        return seen

    monkeypatch.setattr(service.stripe, "retrieve_subscription", slow_retrieve)
    schedule_cancellation(sandbox, subscription_id)
    await fetched.wait()
    sandbox.cancel_subscription(subscription_id)
    deleted = sandbox.events[-1]
    assert deleted["type"] == "customer.subscription.deleted"
    assert (await webhooks.deliver(deleted["id"])).status == 200
    may_write.set()
    await webhooks.settle()
    stored = await assert_snapshot_is_current(service, sandbox, subscription_id)
    assert stored["status"] == "canceled"
    assert {attempt.status for attempt in webhooks.attempts} == {200}, (
        "an outdated fetch is not a failure"
    )


@pytest.mark.gen_test
async def test_event_is_delivered_again_while_stripe_is_down(
    buyer: Buyer, service: Service, sandbox: Sandbox, webhooks: Webhooks, quick_retries: None
) -> None:
    subscription_id = await buyer.subscribe()
    sandbox.api.refuse(503, times=3, path_prefix="/v1/subscriptions/")
    schedule_cancellation(sandbox, subscription_id)
    await webhooks.settle()
    assert [attempt.status for attempt in webhooks.attempts[-2:]] == [503, 200]
    await assert_snapshot_is_current(service, sandbox, subscription_id)


@pytest.mark.parametrize("api_version", [OLD_SHAPE, NEW_SHAPE])
@pytest.mark.gen_test
async def test_subscription_of_another_system_is_ignored(
    api: Api, service: Service, sandbox: Sandbox, shop: Shop, api_version: str
) -> None:
    url = api.url + WEBHOOK_ROUTE
    sandbox.create_webhook_endpoint(url, WEBHOOK_SECRET, api_version=api_version)
    price = sandbox.create_price(
        product=shop.other_product, unit_amount=900, recurring={"interval": "month"}
    )
    subscribe_elsewhere(sandbox, price["id"])
    await sandbox.webhooks.settle()
    outcomes = {json.loads(attempt.body)["outcome"] for attempt in sandbox.webhooks.attempts}
    assert outcomes == {"processed", "ignored"}
    assert await rows(service, "subscriptions") == []
    assert sandbox.api.calls == []
    shown = json_of(await api.get(f"{IAM_ROUTES}/subscription"))["subscription"]
    assert shown["status"] == "none"


@pytest.mark.gen_test
async def test_subscription_without_an_account_is_rejected(
    api: Api, service: Service, sandbox: Sandbox, shop: Shop, webhooks: Webhooks
) -> None:
    subscribe_elsewhere(sandbox, shop.plan, account="")
    await webhooks.settle()
    stored = await rows(service, "events")
    runs = [run for row in stored for name, run in row["handlers"].items() if "card" not in name]
    rejected = [run["error"] for run in runs if run["status"] == "rejected"]
    assert len(rejected) == 2
    assert all("no account for subscription" in reason for reason in rejected)
