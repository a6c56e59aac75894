"""A package has one open PaymentIntent, so that two browser windows lead to one charge."""

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
async def test_second_request_returns_the_open_payment_intent(
    buyer: Buyer, sandbox: Sandbox
) -> None:
    await buyer.subscribe()
    first = json_of(await buyer.ask_to_buy())
    made = calls(sandbox, "POST", INTENTS)
    second = json_of(await buyer.ask_to_buy())
    assert second == first
    assert calls(sandbox, "POST", INTENTS) == made, "nothing was created"


@pytest.mark.mongod
@pytest.mark.gen_test
async def test_concurrent_requests_return_one_payment_intent(
    buyer: Buyer, sandbox: Sandbox, shop: Shop, quick_retries: None
) -> None:
    await buyer.subscribe()
    answers = await asyncio.gather(*(buyer.ask_to_buy(shop.packages[1]) for _ in range(20)))
    assert len({intent_id(answer) for answer in answers}) == 1
    [intent] = [one for one in objects(sandbox, INTENTS) if one["metadata"].get("credits")]
    assert intent["id"] == intent_id(answers[0])


@pytest.mark.mongod
@pytest.mark.gen_test
async def test_concurrent_requests_after_a_purchase_return_one_payment_intent(
    buyer: Buyer, sandbox: Sandbox, quick_retries: None
) -> None:
    await buyer.subscribe()
    bought = await buyer.buy()
    answers = await asyncio.gather(*(buyer.ask_to_buy() for _ in range(10)))
    [again] = {intent_id(answer) for answer in answers}
    assert again != bought["id"]


@pytest.mark.gen_test
async def test_paid_payment_intent_is_not_reused(buyer: Buyer) -> None:
    await buyer.subscribe()
    first = await buyer.buy()
    second = await buyer.buy()
    assert second["id"] != first["id"]
    assert await buyer.credits() == 100


@pytest.mark.gen_test
async def test_payment_intent_with_a_declined_card_is_reused(
    buyer: Buyer, sandbox: Sandbox
) -> None:
    await buyer.subscribe()
    first = json_of(await buyer.ask_to_buy())
    declined = {"payment_method": "pm_card_chargeDeclined"}
    with pytest.raises(Exception, match="declined"):
        sandbox.call("POST", f"{INTENTS}/{first['payment_intent_id']}/confirm", **declined)
    assert intent_id(await buyer.ask_to_buy()) == first["payment_intent_id"]


@pytest.mark.parametrize("status", ["processing", "requires_action", "requires_confirmation"])
@pytest.mark.gen_test
async def test_payment_intent_that_is_being_paid_is_reused(
    buyer: Buyer, sandbox: Sandbox, status: str
) -> None:
    await buyer.subscribe()
    first = intent_id(await buyer.ask_to_buy())
    sandbox.put({**sandbox.get(first), "status": status})
    assert intent_id(await buyer.ask_to_buy()) == first


@pytest.mark.gen_test
async def test_each_package_has_its_own_payment_intent(buyer: Buyer, shop: Shop) -> None:
    await buyer.subscribe()
    small = intent_id(await buyer.ask_to_buy(shop.packages[0]))
    assert intent_id(await buyer.ask_to_buy(shop.packages[1])) != small
    assert intent_id(await buyer.ask_to_buy(shop.packages[0])) == small


@pytest.mark.gen_test
async def test_each_account_has_its_own_payment_intent(buyer: Buyer, stranger: Buyer) -> None:
    await buyer.subscribe()
    await stranger.subscribe()
    assert intent_id(await buyer.ask_to_buy()) != intent_id(await stranger.ask_to_buy())


@pytest.mark.gen_test
async def test_clients_own_key_creates_another_payment_intent(buyer: Buyer) -> None:
    await buyer.subscribe()
    first = intent_id(await buyer.ask_to_buy())
    assert intent_id(await buyer.ask_to_buy(Idempotency_Key="order-1")) != first
    assert intent_id(await buyer.ask_to_buy()) == first


@pytest.mark.gen_test
async def test_payment_intent_is_replaced_after_the_reuse_period(
    buyer: Buyer, clock: Clock
) -> None:
    await buyer.subscribe()
    first = intent_id(await buyer.ask_to_buy())
    clock.advance(seconds=REUSE_PERIOD.total_seconds() - 5)
    assert intent_id(await buyer.ask_to_buy()) == first
    clock.advance(seconds=10)
    second = intent_id(await buyer.ask_to_buy())
    assert second != first
    assert intent_id(await buyer.ask_to_buy()) == second


CHANGES: dict[str, dict[str, Any]] = {
    "amount": {"amount": 1},
    "currency": {"currency": "eur"},
    "customer": {"customer": "cus_other"},
    "credits": {"metadata": {"credits": "51"}},
    "account": {"metadata": {"account_uid": "other"}},
    "cancelled": {"status": "canceled"},
}


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.gen_test
async def test_payment_intent_that_does_not_match_the_order_is_not_reused(
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
async def test_payment_intent_that_stripe_does_not_have_is_replaced(
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
async def test_request_after_a_refusal_has_another_key(
    buyer: Buyer, service: Service, sandbox: Sandbox, quick_retries: None
) -> None:
    """Stripe repeats a 500 for a day if the key is the same."""
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
async def test_request_with_other_parameters_after_a_crash_has_another_key(
    buyer: Buyer, service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    await buyer.subscribe()
    open_payment_intents = service.store._database.open_payment_intents
    first = intent_id(await buyer.ask_to_buy())
    # As if the process had crashed before it stored the id of the PaymentIntent.
    await open_payment_intents.update_many({}, {"$unset": {"payment_intent_id": ""}})
    assert intent_id(await buyer.ask_to_buy()) == first
    await open_payment_intents.update_many({}, {"$unset": {"payment_intent_id": ""}})
    [package] = [
        one for one in await service.catalog.packages() if one.id == buyer.shop.packages[0]
    ]
    changed = package.model_copy(update={"credits": 51})

    async def changed_package(_: str) -> Package:
        return changed

    monkeypatch.setattr(service.catalog, "package", changed_package)
    assert intent_id(await buyer.ask_to_buy()) != first


@pytest.mark.gen_test
async def test_account_without_subscription_gets_no_payment_intent(
    buyer: Buyer, service: Service, webhooks: Webhooks
) -> None:
    assert (await buyer.ask_to_buy()).code == 403
    assert await rows(service, "open_payment_intents") == []
