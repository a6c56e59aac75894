"""Asking again for a package: one PaymentIntent, so that two windows end in one charge."""

import asyncio
from typing import Any

import pytest
from tornado.httpclient import HTTPResponse

from datalayer_stripe.billing.open_payment_intents import REUSE_PERIOD
from datalayer_stripe.models import Package
from datalayer_stripe.sandbox import Sandbox
from datalayer_stripe.sandbox.delivery.webhooks import Webhooks
from datalayer_stripe.service import Service
from tests.support.app import Clock, json_of
from tests.support.shop import Buyer, Shop, calls, objects, rows

pytestmark = pytest.mark.usefixtures("webhooks", "unlimited")

INTENTS = "/v1/payment_intents"


def intent_id(answer: HTTPResponse) -> str:
    assert answer.code == 201, answer.body
    return str(json_of(answer)["payment_intent_id"])


@pytest.mark.gen_test
async def test_asking_again_gives_the_open_one(buyer: Buyer, sandbox: Sandbox) -> None:
    await buyer.subscribe()
    first = json_of(await buyer.ask_to_buy())
    made = calls(sandbox, "POST", INTENTS)
    second = json_of(await buyer.ask_to_buy())
    assert second == first
    assert calls(sandbox, "POST", INTENTS) == made, "no call to Stripe that could be saved"


@pytest.mark.mongod
@pytest.mark.gen_test
async def test_twenty_who_ask_at_once_get_one(
    buyer: Buyer, sandbox: Sandbox, shop: Shop, quick_retries: None
) -> None:
    await buyer.subscribe()
    answers = await asyncio.gather(*(buyer.ask_to_buy(shop.packages[1]) for _ in range(20)))
    assert len({intent_id(answer) for answer in answers}) == 1
    [intent] = [one for one in objects(sandbox, INTENTS) if one["metadata"].get("credits")]
    assert intent["id"] == intent_id(answers[0])


@pytest.mark.mongod
@pytest.mark.gen_test
async def test_those_who_ask_at_once_for_a_spent_one_get_one(
    buyer: Buyer, sandbox: Sandbox, quick_retries: None
) -> None:
    await buyer.subscribe()
    bought = await buyer.buy()
    answers = await asyncio.gather(*(buyer.ask_to_buy() for _ in range(10)))
    [again] = {intent_id(answer) for answer in answers}
    assert again != bought["id"]


@pytest.mark.gen_test
async def test_a_paid_one_is_not_given_again(buyer: Buyer) -> None:
    await buyer.subscribe()
    first = await buyer.buy()
    second = await buyer.buy()
    assert second["id"] != first["id"]
    assert await buyer.credits() == 100


@pytest.mark.gen_test
async def test_a_declined_one_is_given_again(buyer: Buyer, sandbox: Sandbox) -> None:
    await buyer.subscribe()
    first = json_of(await buyer.ask_to_buy())
    declined = {"payment_method": "pm_card_chargeDeclined"}
    with pytest.raises(Exception, match="declined"):
        sandbox.call("POST", f"{INTENTS}/{first['payment_intent_id']}/confirm", **declined)
    assert intent_id(await buyer.ask_to_buy()) == first["payment_intent_id"]


@pytest.mark.parametrize("status", ["processing", "requires_action", "requires_confirmation"])
@pytest.mark.gen_test
async def test_one_that_is_being_paid_is_given_again(
    buyer: Buyer, sandbox: Sandbox, status: str
) -> None:
    await buyer.subscribe()
    first = intent_id(await buyer.ask_to_buy())
    sandbox.put({**sandbox.get(first), "status": status})
    assert intent_id(await buyer.ask_to_buy()) == first


@pytest.mark.gen_test
async def test_another_package_is_another_one(buyer: Buyer, shop: Shop) -> None:
    await buyer.subscribe()
    small = intent_id(await buyer.ask_to_buy(shop.packages[0]))
    assert intent_id(await buyer.ask_to_buy(shop.packages[1])) != small
    assert intent_id(await buyer.ask_to_buy(shop.packages[0])) == small


@pytest.mark.gen_test
async def test_another_account_gets_its_own(buyer: Buyer, stranger: Buyer) -> None:
    await buyer.subscribe()
    await stranger.subscribe()
    assert intent_id(await buyer.ask_to_buy()) != intent_id(await stranger.ask_to_buy())


@pytest.mark.gen_test
async def test_a_new_key_of_the_client_s_own_gives_a_new_one(buyer: Buyer) -> None:
    await buyer.subscribe()
    first = intent_id(await buyer.ask_to_buy())
    assert intent_id(await buyer.ask_to_buy(Idempotency_Key="order-1")) != first
    assert intent_id(await buyer.ask_to_buy()) == first


@pytest.mark.gen_test
async def test_after_the_last_minutes_it_is_a_new_one(buyer: Buyer, clock: Clock) -> None:
    await buyer.subscribe()
    first = intent_id(await buyer.ask_to_buy())
    clock.advance(seconds=REUSE_PERIOD.total_seconds() - 5)
    assert intent_id(await buyer.ask_to_buy()) == first
    clock.advance(seconds=10)
    second = intent_id(await buyer.ask_to_buy())
    assert second != first
    assert intent_id(await buyer.ask_to_buy()) == second


CHANGES: dict[str, dict[str, Any]] = {
    "of another amount": {"amount": 1},
    "of another currency": {"currency": "eur"},
    "of another customer": {"customer": "cus_other"},
    "of other credits": {"metadata": {"credits": "51"}},
    "of another account": {"metadata": {"account_uid": "other"}},
    "cancelled": {"status": "canceled"},
}


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.gen_test
async def test_one_that_is_not_of_this_order_is_not_given(
    buyer: Buyer, sandbox: Sandbox, change: str
) -> None:
    await buyer.subscribe()
    first = sandbox.get(intent_id(await buyer.ask_to_buy()))
    fields = dict(CHANGES[change])
    if "metadata" in fields:
        fields["metadata"] = {**first["metadata"], **fields["metadata"]}
    sandbox.put({**first, **fields})
    assert intent_id(await buyer.ask_to_buy()) != first["id"]


@pytest.mark.gen_test
async def test_one_that_stripe_has_lost_is_replaced(
    buyer: Buyer, service: Service, sandbox: Sandbox
) -> None:
    await buyer.subscribe()
    first = intent_id(await buyer.ask_to_buy())
    await service.store._database.open_payment_intents.update_many(
        {}, {"$set": {"payment_intent_id": "pi_lost", "key": "another"}}
    )
    second = intent_id(await buyer.ask_to_buy())
    assert second != first
    assert intent_id(await buyer.ask_to_buy()) == second


@pytest.mark.gen_test
async def test_what_stripe_refused_is_asked_under_another_key(
    buyer: Buyer, service: Service, sandbox: Sandbox, quick_retries: None
) -> None:
    """Stripe repeats a 500 for a day under the same key."""
    await buyer.subscribe()
    sandbox.api.refuse(status=500, times=100, path_prefix=INTENTS)
    assert (await buyer.ask_to_buy()).code == 503
    assert await rows(service, "open_payment_intents") == []
    refused = {call.idempotency_key for call in sandbox.api.calls if call.path == INTENTS}
    sandbox.api.normal()
    intent_id(await buyer.ask_to_buy())
    keys = [call.idempotency_key for call in sandbox.api.calls if call.path == INTENTS]
    assert keys[-1] not in refused


@pytest.mark.gen_test
async def test_other_terms_after_a_crash_are_asked_under_another_key(
    buyer: Buyer, service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    await buyer.subscribe()
    open_payment_intents = service.store._database.open_payment_intents
    first = intent_id(await buyer.ask_to_buy())
    # As if the process had died before it could keep which PaymentIntent it was.
    await open_payment_intents.update_many({}, {"$unset": {"payment_intent_id": ""}})
    assert intent_id(await buyer.ask_to_buy()) == first
    await open_payment_intents.update_many({}, {"$unset": {"payment_intent_id": ""}})
    [package] = [
        one for one in await service.catalog.packages() if one.id == buyer.shop.packages[0]
    ]
    changed = package.model_copy(update={"credits": 51})

    async def sold(_: str) -> Package:
        return changed

    monkeypatch.setattr(service.catalog, "package", sold)
    assert intent_id(await buyer.ask_to_buy()) != first


@pytest.mark.gen_test
async def test_who_may_not_buy_is_refused_before(
    buyer: Buyer, service: Service, webhooks: Webhooks
) -> None:
    assert (await buyer.ask_to_buy()).code == 403
    assert await rows(service, "open_payment_intents") == []
