"""Each refund takes back its part of the credits once, in any order of the events."""

import asyncio
import json
import random
from typing import Any

import pytest

from datalayer_stripe import Event
from datalayer_stripe.sandbox import Sandbox
from datalayer_stripe.sandbox.delivery.webhooks import Webhooks
from datalayer_stripe.service import Service
from tests.support.app import ACCOUNT, Clock, json_of
from tests.support.audits import deliver_until_accepted, differences
from tests.support.shop import STRIPE_ROUTES, Buyer, Shop, calls, kept, rows, subscribe_elsewhere

HISTORY = f"{STRIPE_ROUTES}/topup/history"


async def reversal_rows(service: Service) -> list[tuple[str, int, int]]:
    """Return kind, credits and amount of each row of a reversal, in the order of their ids."""
    found = [row for row in await rows(service, "ledger") if row.get("reverses")]
    return [(row["kind"], row["credits"], row["amount"]) for row in found]


def events_of(sandbox: Sandbox, *prefixes: str) -> list[dict[str, Any]]:
    return [event for event in sandbox.events if event["type"].startswith(prefixes)]


@pytest.mark.mongod
@pytest.mark.gen_test
async def test_partial_refunds_take_back_credits_in_proportion(
    buyer: Buyer, sandbox: Sandbox, webhooks: Webhooks, service: Service, clock: Clock
) -> None:
    await buyer.subscribe()
    bought = await buyer.buy()
    left = []
    for part in (167, 167, 166):
        sandbox.refund(bought["id"], part)
        await webhooks.settle()
        left.append(await buyer.credits())
    # 16.7 and 33.4 are rounded down. The whole amount takes all credits.
    assert left == [50 - 16, 50 - 33, 0]
    assert {one.status for one in webhooks.attempts} == {200}
    taken = await reversal_rows(service)
    assert sorted(taken) == [
        ("refund", -17, -167),
        ("refund", -17, -166),
        ("refund", -16, -167),
    ]
    clock.advance(minutes=6)
    assert await differences(service) == []
    metrics = (await buyer.api.request("GET", "/metrics")).body.decode()
    assert "datalayer_stripe_credits_taken_back_total 50.0" in metrics


@pytest.mark.mongod
@pytest.mark.parametrize("seed", range(5))
@pytest.mark.gen_test
async def test_each_refund_counts_once_in_any_order_with_its_top_up(
    buyer: Buyer, sandbox: Sandbox, webhooks: Webhooks, service: Service, clock: Clock, seed: int
) -> None:
    await buyer.subscribe()
    webhooks.hold()
    paid = [
        sandbox.confirm_payment(json_of(await buyer.ask_to_buy(price))["client_secret"])["id"]
        for price in buyer.shop.packages[:2]
    ]
    for part in (100, 250, 50):
        sandbox.refund(paid[0], part)
    delivered = events_of(sandbox, "charge.refunded", "refund.", "payment_intent.succeeded")
    about = [
        event for event in delivered if "credits" in event["data"]["object"].get("metadata", {})
    ]
    about += [event for event in delivered if event["type"].startswith("refund.")]
    deliveries = about * 2
    random.Random(seed).shuffle(deliveries)
    assert len(deliveries) >= 20
    await deliver_until_accepted(buyer, deliveries)
    assert await buyer.credits() == 10 + 220
    assert sum(credits for _, credits, _ in await reversal_rows(service)) == -40
    assert len(await reversal_rows(service)) == 3
    clock.advance(minutes=6)
    assert await differences(service) == []


@pytest.mark.mongod
@pytest.mark.gen_test
async def test_concurrent_refunds_of_two_accounts_do_not_affect_each_other(
    buyer: Buyer, stranger: Buyer, sandbox: Sandbox, webhooks: Webhooks
) -> None:
    for one in (buyer, stranger):
        await one.subscribe()
    mine, theirs = (await buyer.buy())["id"], (await stranger.buy())["id"]
    sandbox.refund(mine, 100)
    sandbox.refund(theirs, 400)
    await webhooks.settle()
    assert (await buyer.credits(), await stranger.credits()) == (40, 10)


@pytest.mark.mongod
@pytest.mark.gen_test
async def test_failed_refund_returns_the_credits_once(
    buyer: Buyer, sandbox: Sandbox, webhooks: Webhooks, service: Service
) -> None:
    await buyer.subscribe()
    bought = await buyer.buy()
    refund = sandbox.refund(bought["id"], 200)
    await webhooks.settle()
    assert await buyer.credits() == 30
    webhooks.duplicate(3)
    sandbox.settle_refund(refund["id"], fail=True)
    await webhooks.settle()
    assert await buyer.credits() == 50
    assert await reversal_rows(service) == [
        ("refund", -20, -200),
        ("refund-failed", 20, 200),
    ]
    # The operator refunds it again.
    sandbox.refund(bought["id"])
    await webhooks.settle()
    assert await buyer.credits() == 0


@pytest.mark.gen_test
async def test_pending_refund_takes_back_credits_immediately(
    buyer: Buyer, sandbox: Sandbox, webhooks: Webhooks, service: Service
) -> None:
    await buyer.subscribe()
    started = json_of(await buyer.ask_to_buy())
    bought = sandbox.confirm_payment(started["client_secret"], "pm_card_pendingRefund")
    refund = sandbox.refund(bought["id"])
    await webhooks.settle()
    assert await buyer.credits() == 0
    sandbox.settle_refund(refund["id"])
    await webhooks.settle()
    assert await buyer.credits() == 0
    assert len(await reversal_rows(service)) == 1


@pytest.mark.mongod
@pytest.mark.gen_test
async def test_outdated_list_of_refunds_does_not_undo_a_later_change(
    buyer: Buyer,
    sandbox: Sandbox,
    webhooks: Webhooks,
    service: Service,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    await buyer.subscribe()
    bought = await buyer.buy()
    webhooks.hold()
    refund = sandbox.refund(bought["id"])
    listed, may_continue = asyncio.Event(), asyncio.Event()
    list_refunds = service.stripe.list_refunds

    async def slow_once(payment_intent_id: str) -> list[dict[str, Any]]:
        found = await list_refunds(payment_intent_id)
        if not listed.is_set():
            listed.set()
            await may_continue.wait()
        return found

    monkeypatch.setattr(service.stripe, "list_refunds", slow_once)
    [created] = events_of(sandbox, "refund.created")
    slow = asyncio.create_task(buyer.api.deliver(json.dumps(created).encode()))
    await listed.wait()
    # The refund fails, and that event is processed first: there is nothing to return.
    sandbox.settle_refund(refund["id"], fail=True)
    [failed] = events_of(sandbox, "refund.failed")
    assert (await buyer.api.deliver(json.dumps(failed).encode())).code == 200
    may_continue.set()
    assert (await slow).code == 200
    assert await buyer.credits() == 50, "the outdated list is dropped"
    assert await reversal_rows(service) == []


@pytest.mark.mongod
@pytest.mark.gen_test
async def test_refund_is_retried_until_the_top_up_is_credited(
    buyer: Buyer, sandbox: Sandbox, webhooks: Webhooks, service: Service
) -> None:
    await buyer.subscribe()
    webhooks.hold()
    paid = sandbox.confirm_payment(json_of(await buyer.ask_to_buy())["client_secret"])
    sandbox.refund(paid["id"])
    [refunded] = events_of(sandbox, "charge.refunded")
    answer = await buyer.api.deliver(json.dumps(refunded).encode())
    assert (answer.code, json_of(answer)["code"]) == (503, "delivery_failed")
    record = await service.store.events.get(refunded["id"])
    assert record is not None
    assert record.handlers["refunds"].error == f"not credited yet: {paid['id']}"
    webhooks.release()
    await webhooks.settle()
    assert await buyer.credits() == 0
    assert await reversal_rows(service) == [("refund", -50, -500)]


@pytest.mark.gen_test
async def test_refund_is_retried_if_only_another_plugin_rejected_the_top_up(
    buyer: Buyer, sandbox: Sandbox, webhooks: Webhooks, service: Service, clock: Clock
) -> None:
    await buyer.subscribe()
    webhooks.hold()
    paid = sandbox.confirm_payment(json_of(await buyer.ask_to_buy())["client_secret"])
    [succeeded] = [
        event
        for event in events_of(sandbox, "payment_intent.succeeded")
        if event["data"]["object"]["id"] == paid["id"]
    ]
    # The process crashed before it added the credits.
    event = Event.model_validate(succeeded)
    await service.store.events.record_rejection(event, "bonus", "no bonus for this", clock())
    sandbox.refund(paid["id"])
    [refunded] = events_of(sandbox, "charge.refunded")
    assert (await buyer.api.deliver(json.dumps(refunded).encode())).code == 503
    webhooks.release()
    await webhooks.settle()
    assert await buyer.credits() == 0
    assert await reversal_rows(service) == [("refund", -50, -500)]


@pytest.mark.gen_test
async def test_refund_of_a_rejected_top_up_is_rejected_and_both_can_be_replayed(
    buyer: Buyer, sandbox: Sandbox, webhooks: Webhooks, service: Service
) -> None:
    await buyer.subscribe()
    await service.store._database.customers.delete_one({"_id": ACCOUNT})
    webhooks.hold()
    paid = sandbox.confirm_payment(json_of(await buyer.ask_to_buy())["client_secret"])
    claim = {"_id": "another", "customer_id": paid["customer"]}
    await service.store._database.customers.delete_one({"_id": ACCOUNT})
    await service.store._database.customers.insert_one(claim)
    sandbox.refund(paid["id"])
    webhooks.release()
    await webhooks.settle()
    records = [one async for one in service.store.event_lists.find(status="rejected")]
    reasons = {one.type: next(iter(one.handlers.values())).error for one in reversed(records)}
    top_up = next(one for one in records if one.type == "payment_intent.succeeded")
    assert reasons["charge.refunded"] == f"the top-up was rejected: see {top_up.id}"

    await service.store._database.customers.delete_one(claim)
    assert (await service.processor.replay(top_up.id)).outcome == "processed"
    for record in records:
        assert (await service.processor.replay(record.id)).outcome in ("processed", "duplicate")
    assert await buyer.credits() == 0
    assert await reversal_rows(service) == [("refund", -50, -500)]


@pytest.mark.gen_test
async def test_refunds_and_disputes_of_another_system_are_ignored(
    buyer: Buyer, sandbox: Sandbox, webhooks: Webhooks, service: Service, shop: Shop
) -> None:
    await buyer.subscribe()
    await buyer.buy()
    before = await rows(service, "ledger")
    theirs = sandbox.call("POST", "/v1/payment_intents", amount=700, currency="usd")
    sandbox.confirm_payment(theirs["client_secret"])
    sandbox.refund(theirs["id"], 300)
    sandbox.dispute(theirs["id"])
    # The payment of a renewal has the account's customer, but no metadata of a top-up.
    subscribe_elsewhere(sandbox, shop.plan)
    renewal = next(
        intent
        for intent in sandbox.call("GET", "/v1/payment_intents", limit=100)["data"]
        if intent["amount"] == 2900
    )
    sandbox.refund(renewal["id"])
    await webhooks.settle()
    about = [one for one in webhooks.attempts if one.type.startswith(("charge.", "refund."))]
    outcomes = [json.loads(one.body)["outcome"] for one in about if "succeeded" not in one.type]
    assert set(outcomes) == {"processed", "ignored"}
    assert await buyer.credits() == 50
    assert await rows(service, "ledger") == before


@pytest.mark.gen_test
async def test_refund_without_a_payment_intent_at_stripe_is_ignored(
    buyer: Buyer, sandbox: Sandbox, service: Service
) -> None:
    for intent_id in (None, "pi_unknown"):
        refund = {"id": "re_1", "object": "refund", "payment_intent": intent_id, "amount": 5}
        event = {
            "id": f"evt_{intent_id}",
            "type": "refund.created",
            "created": 1,
            "livemode": False,
            "data": {"object": refund},
        }
        answer = await buyer.api.deliver(json.dumps(event).encode())
        assert json_of(answer)["outcome"] == "processed"
    assert (await kept(service)).keys() <= {"events"}


@pytest.mark.gen_test
async def test_refund_is_retried_while_stripe_does_not_answer(
    buyer: Buyer,
    sandbox: Sandbox,
    webhooks: Webhooks,
    service: Service,
    quick_retries: None,
) -> None:
    await buyer.subscribe()
    bought = await buyer.buy()
    sandbox.api.refuse(status=500, times=1000, path_prefix="/v1/refunds")
    webhooks.hold()
    sandbox.call("POST", "/v1/refunds", payment_intent=bought["id"])
    [refunded] = events_of(sandbox, "charge.refunded")
    answer = await buyer.api.deliver(json.dumps(refunded).encode())
    assert answer.code == 503
    assert await buyer.credits() == 50
    sandbox.api.normal()
    webhooks.release()
    await webhooks.settle()
    assert await buyer.credits() == 0


@pytest.mark.gen_test
async def test_refund_is_retried_until_stripe_lists_it(
    buyer: Buyer,
    sandbox: Sandbox,
    webhooks: Webhooks,
    service: Service,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def empty_list(_: str) -> list[dict[str, Any]]:
        return []

    await buyer.subscribe()
    bought = await buyer.buy()
    webhooks.hold()
    refund = sandbox.refund(bought["id"])
    [created] = events_of(sandbox, "refund.created")
    with monkeypatch.context() as patched:
        patched.setattr(service.stripe, "list_refunds", empty_list)
        assert (await buyer.api.deliver(json.dumps(created).encode())).code == 503
    record = await service.store.events.get(created["id"])
    assert record is not None
    assert record.handlers["refunds"].error == f"not listed by Stripe yet: {refund['id']}"
    webhooks.release()
    await webhooks.settle()
    assert await buyer.credits() == 0


@pytest.mark.gen_test
async def test_dispute_in_another_currency_is_rejected(
    buyer: Buyer, sandbox: Sandbox, webhooks: Webhooks
) -> None:
    await buyer.subscribe()
    bought = await buyer.buy()
    webhooks.hold()
    dispute = sandbox.dispute(bought["id"])
    sandbox.put({**dispute, "currency": "eur"})
    [created] = events_of(sandbox, "charge.dispute.created")
    answer = await buyer.api.deliver(json.dumps(created).encode())
    assert json_of(answer)["outcome"] == "rejected"
    assert await buyer.credits() == 50


@pytest.mark.mongod
@pytest.mark.gen_test
async def test_history_and_status_show_a_refunded_top_up(
    buyer: Buyer, sandbox: Sandbox, webhooks: Webhooks
) -> None:
    await buyer.subscribe()
    bought = await buyer.buy()
    refund = sandbox.refund(bought["id"], 200)
    await webhooks.settle()
    shown = json_of(await buyer.api.get(HISTORY))["history"]
    assert [(one["kind"], one["reverses"]) for one in shown] == [
        ("refund", bought["id"]),
        ("top-up", None),
    ]
    assert shown[0].pop("created_at").endswith("Z")
    assert shown[0] == {
        "id": refund["id"],
        "kind": "refund",
        "credits": -20,
        "amount": -200,
        "currency": "usd",
        "price_id": buyer.shop.packages[0],
        "receipt_url": None,
        "reverses": bought["id"],
    }
    assert shown[1]["receipt_url"]
    status = json_of(await buyer.api.get(f"{STRIPE_ROUTES}/topup/payment-intent/{bought['id']}"))
    assert (status["status"], status["credited"], status["credits"], status["balance"]) == (
        "succeeded",
        True,
        50,
        30,
    )


@pytest.mark.mongod
@pytest.mark.gen_test
async def test_reversal_needs_two_calls_to_stripe_and_a_duplicate_none(
    buyer: Buyer, sandbox: Sandbox, webhooks: Webhooks
) -> None:
    await buyer.subscribe()
    bought = await buyer.buy()
    webhooks.hold()
    sandbox.refund(bought["id"])
    [refunded] = events_of(sandbox, "charge.refunded")
    for _ in range(3):
        await buyer.api.deliver(json.dumps(refunded).encode())
    assert calls(sandbox, "GET", "/v1/refunds") == 1
    assert calls(sandbox, "GET", "/v1/disputes") == 1
