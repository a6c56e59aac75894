"""Renew the card of a subscription."""

import asyncio
import json
from typing import Literal

import pytest

from datalayer_stripe.sandbox import Sandbox, SandboxCardError
from datalayer_stripe.sandbox.delivery.webhooks import Webhooks
from datalayer_stripe.service import Service
from tests.handlers.subscription_requests import (
    renew_card,
    update_call,
)
from tests.support.app import ACCOUNT, Clock, json_of
from tests.support.shop import (
    DECLINED_CARD,
    Buyer,
    Shop,
    calls,
    objects,
    rows,
    subscribe_elsewhere,
)


@pytest.mark.gen_test
async def test_renewed_card_becomes_default_payment_method(
    buyer: Buyer, sandbox: Sandbox, webhooks: Webhooks
) -> None:
    subscription_id = await buyer.subscribe()
    before = sandbox.get(subscription_id)["default_payment_method"]
    sandbox.renew(subscription_id, fail=True)
    secret = json_of(await renew_card(buyer.api))["client_secret"]
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
    secret = json_of(await renew_card(buyer.api))["client_secret"]
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
    assert calls(sandbox, *update_call(subscription_id)) == 0
    assert {attempt.status for attempt in webhooks.attempts} == {200}


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
