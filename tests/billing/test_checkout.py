"""Buying a package: Stripe's price decides, and a paid package is credited once."""

from typing import Any

import pytest
from tornado.httpclient import HTTPResponse

from datalayer_stripe.models import MAX_CREDITS
from datalayer_stripe.sandbox import Sandbox, SandboxCardError
from datalayer_stripe.sandbox.delivery.webhooks import Webhooks
from datalayer_stripe.service import Service
from tests.support.app import ACCOUNT, Api, changed, json_of, recorded
from tests.support.shop import (
    DECLINED_CARD,
    OTHER_ACCOUNT,
    STRIPE_ROUTES,
    Buyer,
    Shop,
    objects,
    rows,
)

PAID = recorded("payment_intent.succeeded")
METADATA = {"account_uid": ACCOUNT, "credits": "50", "price_id": "price_1"}
PAYER = "cus_auG5oDCwpKHLK4"  # of the recorded payment


@pytest.mark.parametrize(("package", "credits"), [(0, 50), (1, 220), (2, 600)])
@pytest.mark.gen_test
async def test_paid_package_is_credited(
    buyer: Buyer, service: Service, webhooks: Webhooks, shop: Shop, package: int, credits: int
) -> None:
    await buyer.subscribe()
    intent = await buyer.buy(shop.packages[package])
    assert {attempt.status for attempt in webhooks.attempts} == {200}
    assert await buyer.credits() == credits
    [row] = await rows(service, "ledger")
    assert row == {
        **row,
        "_id": intent["id"],
        "account_uid": ACCOUNT,
        "kind": "top-up",
        "credits": credits,
        "amount": intent["amount"],
        "currency": "usd",
        "price_id": shop.packages[package],
    }


@pytest.mark.gen_test
async def test_payment_intent_has_the_amount_and_credits_of_stripes_price(
    buyer: Buyer, sandbox: Sandbox, shop: Shop, webhooks: Webhooks
) -> None:
    await buyer.subscribe()
    body = {
        "price_id": shop.packages[0],
        "amount": 1,
        "unit_amount": 1,
        "currency": "jpy",
        "credits": 1_000_000,
        "customer": "cus_of_another",
        "metadata": {"account_uid": OTHER_ACCOUNT, "credits": "1000000"},
    }
    started = json_of(await buyer.api.post(f"{STRIPE_ROUTES}/topup/payment-intent", body))
    assert (started["amount"], started["currency"], started["credits"]) == (500, "usd", 50)
    intent = sandbox.get(started["payment_intent_id"])
    [customer] = objects(sandbox, "/v1/customers")
    assert (intent["amount"], intent["currency"]) == (500, "usd")
    assert intent["customer"] == customer["id"]
    assert intent["client_secret"] == started["client_secret"]
    assert intent["metadata"] == {
        "account_uid": ACCOUNT,
        "price_id": shop.packages[0],
        "credits": "50",
    }
    sandbox.confirm_payment(started["client_secret"])
    await webhooks.settle()
    assert await buyer.credits() == 50


@pytest.mark.parametrize("card", [DECLINED_CARD, "4000000000009995", "4000000000000069"])
@pytest.mark.gen_test
async def test_declined_card_adds_no_credits_and_another_card_can_pay(
    buyer: Buyer, sandbox: Sandbox, webhooks: Webhooks, card: str
) -> None:
    await buyer.subscribe()
    started = json_of(await buyer.ask_to_buy())
    with pytest.raises(SandboxCardError):
        sandbox.confirm_payment(started["client_secret"], card)
    await webhooks.settle()
    assert sandbox.events[-1]["type"] == "payment_intent.payment_failed"
    assert await buyer.credits() == 0
    sandbox.confirm_payment(started["client_secret"])
    await webhooks.settle()
    assert await buyer.credits() == 50


@pytest.mark.parametrize(("accept", "credits"), [(True, 50), (False, 0)])
@pytest.mark.gen_test
async def test_credits_are_added_only_after_authentication(
    buyer: Buyer, sandbox: Sandbox, webhooks: Webhooks, accept: bool, credits: int
) -> None:
    await buyer.subscribe()
    started = json_of(await buyer.ask_to_buy())
    intent = sandbox.confirm_payment(started["client_secret"], "4000000000003220")
    await webhooks.settle()
    assert intent["status"] == "requires_action"
    assert await buyer.credits() == 0
    sandbox.authenticate(intent["id"], accept=accept)
    await webhooks.settle()
    assert await buyer.credits() == credits


@pytest.mark.gen_test
async def test_payment_of_an_invoice_adds_no_credits(
    buyer: Buyer, service: Service, sandbox: Sandbox, webhooks: Webhooks
) -> None:
    subscription_id = await buyer.subscribe()
    sandbox.renew(subscription_id)
    await webhooks.settle()
    paid = [event for event in sandbox.events if event["type"] == "payment_intent.succeeded"]
    assert len(paid) == 2
    assert await buyer.credits() == 0
    assert await rows(service, "ledger") == []
    assert {attempt.status for attempt in webhooks.attempts} == {200}


@pytest.mark.mongod
@pytest.mark.gen_test
async def test_duplicate_events_credit_a_payment_once(
    buyer: Buyer, service: Service, webhooks: Webhooks
) -> None:
    webhooks.duplicate(2)
    await buyer.subscribe()
    await buyer.buy()
    await buyer.buy()
    assert await buyer.credits() == 100
    assert [row["credits"] for row in await rows(service, "ledger")] == [50, 50]


REJECTED: dict[str, tuple[dict[str, Any], str]] = {
    "no credits": ({"metadata": {**METADATA, "credits": "0"}}, "credits"),
    "negative credits": ({"metadata": {**METADATA, "credits": "-50"}}, "credits"),
    "too many credits": ({"metadata": {**METADATA, "credits": str(MAX_CREDITS + 1)}}, "credits"),
    "very long number of credits": ({"metadata": {**METADATA, "credits": "9" * 400}}, "credits"),
    "credits in words": ({"metadata": {**METADATA, "credits": "fifty"}}, "credits"),
    "credits in Python": ({"metadata": {**METADATA, "credits": "1_000"}}, "credits"),
    "credits with a fraction": ({"metadata": {**METADATA, "credits": "50.0"}}, "credits"),
    "credits with a sign": ({"metadata": {**METADATA, "credits": "+50"}}, "credits"),
    "credits with a blank": ({"metadata": {**METADATA, "credits": " 50"}}, "credits"),
    "credits in other digits": ({"metadata": {**METADATA, "credits": "\u0665\u0660"}}, "credits"),
    "empty credits": ({"metadata": {**METADATA, "credits": ""}}, "credits"),
    "credits missing": ({"metadata": {"account_uid": ACCOUNT, "price_id": "p"}}, "lacks credits"),
    "account missing": ({"metadata": {"credits": "5", "price_id": "p"}}, "lacks account_uid"),
    "price missing": ({"metadata": {"credits": "5", "account_uid": ACCOUNT}}, "lacks price_id"),
    "empty account": ({"metadata": {**METADATA, "account_uid": ""}}, "account_uid"),
    "invalid account": ({"metadata": {**METADATA, "account_uid": "a b"}}, "account_uid"),
    "not succeeded": ({"status": "processing"}, "status is processing"),
    "paid in part": ({"amount_received": 499}, "amount_received 499"),
    "overpaid": ({"amount_received": 501}, "amount_received 501"),
    "nothing to pay": ({"amount": 0, "amount_received": 0}, "amount"),
}


async def assert_rejected(api: Api, service: Service, answer: HTTPResponse, reason: str) -> None:
    assert (answer.code, json_of(answer)["outcome"]) == (200, "rejected")
    [stored] = await rows(service, "events")
    assert stored["handlers"]["top-up-credits"]["status"] == "rejected"
    assert reason in stored["handlers"]["top-up-credits"]["error"]
    assert await rows(service, "ledger") == []
    for account in (ACCOUNT, OTHER_ACCOUNT):
        assert await api.credits(account) == 0


@pytest.mark.parametrize("name", REJECTED)
@pytest.mark.gen_test
async def test_payment_that_fails_a_check_is_rejected(
    api: Api, service: Service, name: str
) -> None:
    fields, reason = REJECTED[name]
    await assert_rejected(api, service, await api.deliver(changed(PAID, **fields)), reason)


@pytest.mark.parametrize("payer", ["cus_other", None])
@pytest.mark.gen_test
async def test_payment_by_an_unknown_customer_is_rejected_if_the_account_has_one(
    api: Api, service: Service, payer: str | None
) -> None:
    customers = service.store._database.customers
    await customers.insert_one({"_id": ACCOUNT, "customer_id": "cus_1"})
    answer = await api.deliver(changed(PAID, customer=payer))
    await assert_rejected(api, service, answer, "the account's customer is cus_1")
    paid = await api.deliver(changed(PAID, customer="cus_1"))
    assert json_of(paid)["outcome"] == "processed"
    assert await api.credits() == 50


@pytest.mark.gen_test
async def test_payment_by_another_accounts_customer_is_rejected(api: Api, service: Service) -> None:
    customers = service.store._database.customers
    await customers.insert_one({"_id": OTHER_ACCOUNT, "customer_id": PAYER})
    await assert_rejected(api, service, await api.deliver(PAID), "another account")


@pytest.mark.parametrize("metadata", [{}, None, {"order": "7"}])
@pytest.mark.gen_test
async def test_payment_of_another_system_is_ignored(
    api: Api, service: Service, metadata: dict[str, str] | None
) -> None:
    answer = await api.deliver(changed(PAID, metadata=metadata))
    assert (answer.code, json_of(answer)["outcome"]) == (200, "processed")
    assert await rows(service, "ledger") == []
    assert await api.credits() == 0


@pytest.mark.parametrize("credits", [1, MAX_CREDITS])
@pytest.mark.gen_test
async def test_smallest_and_largest_number_of_credits_are_added(api: Api, credits: int) -> None:
    metadata = {**METADATA, "credits": str(credits)}
    assert json_of(await api.deliver(changed(PAID, metadata=metadata)))["outcome"] == "processed"
    assert await api.credits() == credits


def intent_id(answer: HTTPResponse) -> str:
    assert answer.code == 201
    return str(json_of(answer)["payment_intent_id"])


@pytest.mark.gen_test
async def test_same_idempotency_key_returns_the_same_payment_intent(
    buyer: Buyer, stranger: Buyer, sandbox: Sandbox, webhooks: Webhooks
) -> None:
    await buyer.subscribe()
    await stranger.subscribe()
    key = {"Idempotency_Key": "order-1"}
    first = intent_id(await buyer.ask_to_buy(**key))
    assert intent_id(await buyer.ask_to_buy(**key)) == first
    assert intent_id(await buyer.ask_to_buy(Idempotency_Key="order-2")) != first
    theirs = intent_id(await stranger.ask_to_buy(**key))
    assert theirs != first
    assert sandbox.get(theirs)["metadata"]["account_uid"] == OTHER_ACCOUNT


@pytest.mark.parametrize("key", ["x" * 1000, "a b/c?d=e&f", "\u00e9"])
@pytest.mark.gen_test
async def test_idempotency_key_may_have_any_characters_and_length(
    buyer: Buyer, webhooks: Webhooks, key: str
) -> None:
    await buyer.subscribe()
    first = intent_id(await buyer.ask_to_buy(Idempotency_Key=key))
    assert intent_id(await buyer.ask_to_buy(Idempotency_Key=key)) == first
    assert intent_id(await buyer.ask_to_buy(Idempotency_Key=key + "x")) != first


@pytest.mark.gen_test
async def test_idempotency_key_of_another_package_is_a_conflict(
    buyer: Buyer, shop: Shop, webhooks: Webhooks
) -> None:
    await buyer.subscribe()
    await buyer.ask_to_buy(shop.packages[0], Idempotency_Key="order-1")
    answer = await buyer.ask_to_buy(shop.packages[1], Idempotency_Key="order-1")
    assert (answer.code, json_of(answer)["code"]) == (409, "conflict")
    assert "Idempotency-Key" in json_of(answer)["message"]


@pytest.mark.parametrize("headers", [{}, {"Idempotency_Key": "order-1"}])
@pytest.mark.gen_test
async def test_payment_intent_can_be_paid_by_card_only(
    buyer: Buyer, sandbox: Sandbox, webhooks: Webhooks, headers: dict[str, str]
) -> None:
    await buyer.subscribe()
    intent = sandbox.get(intent_id(await buyer.ask_to_buy(**headers)))
    assert intent["allowed_payment_method_types"] == ["card"], "no voucher, no bank transfer"
