"""Each account has one Stripe customer, also if requests race."""

import asyncio
from typing import Any

import pytest

from datalayer_stripe.sandbox import Sandbox
from datalayer_stripe.sandbox.delivery.webhooks import Webhooks
from datalayer_stripe.service import Service
from tests.support.app import ACCOUNT, json_of
from tests.support.shop import (
    OTHER_ACCOUNT,
    Buyer,
    Shop,
    calls,
    objects,
    rows,
    subscribe_elsewhere,
)

CREATE = ("POST", "/v1/customers")
ADA = {"email": "ada@example.com", "firstName": "Ada", "lastName": "Lovelace"}


@pytest.mark.mongod
@pytest.mark.parametrize("users", [[{}], [ADA, {"email": "ada@work.example.com"}]])
@pytest.mark.gen_test
async def test_concurrent_requests_create_one_customer(
    buyer: Buyer,
    service: Service,
    sandbox: Sandbox,
    quick_retries: None,
    users: list[dict[str, Any]],
) -> None:
    sandbox.api.delay(0.01, path_prefix="/v1/customers")
    answers = await asyncio.gather(
        *(buyer.ask_to_subscribe(user=users[n % len(users)]) for n in range(16))
    )
    assert {answer.code for answer in answers} == {201}
    [customer] = objects(sandbox, "/v1/customers")
    assert [event["type"] for event in sandbox.events].count("customer.created") == 1
    [row] = await rows(service, "customers")
    assert (row["_id"], row["customer_id"]) == (ACCOUNT, customer["id"])
    assert len({json_of(answer)["subscription_id"] for answer in answers}) == 1
    keys = {call.idempotency_key for call in sandbox.api.calls if call[:2] == CREATE}
    assert len(keys) == 1
    assert keys.pop().startswith(f"customer-{ACCOUNT}-")


@pytest.mark.gen_test
async def test_customer_is_created_once_with_the_account_in_its_metadata(
    buyer: Buyer, service: Service, sandbox: Sandbox
) -> None:
    await buyer.ask_to_subscribe(user=ADA)
    await buyer.ask_to_subscribe(user={"email": "ada@work.example.com"})
    [customer] = objects(sandbox, "/v1/customers")
    assert customer["metadata"] == {"account_uid": ACCOUNT, "made_by": "datalayer-stripe"}
    assert (customer["email"], customer["name"]) == ("ada@example.com", "Ada Lovelace")
    assert calls(sandbox, *CREATE) == 1
    [row] = await rows(service, "customers")
    assert "email" not in row, "the address is stored only until Stripe has created the customer"


@pytest.mark.gen_test
async def test_two_accounts_with_one_address_get_two_customers(
    buyer: Buyer, stranger: Buyer, service: Service, sandbox: Sandbox
) -> None:
    await asyncio.gather(buyer.ask_to_subscribe(user=ADA), stranger.ask_to_subscribe(user=ADA))
    made = {customer["id"] for customer in objects(sandbox, "/v1/customers")}
    assert len(made) == 2
    stored = await rows(service, "customers")
    assert {row["_id"] for row in stored} == {ACCOUNT, OTHER_ACCOUNT}
    assert {row["customer_id"] for row in stored} == made


@pytest.mark.parametrize("user", [{}, {"email": "not an address"}, {"firstName": 7}])
@pytest.mark.gen_test
async def test_account_without_valid_details_gets_a_customer(
    buyer: Buyer, sandbox: Sandbox, user: dict[str, Any]
) -> None:
    assert (await buyer.ask_to_subscribe(user=user)).code == 201
    [customer] = objects(sandbox, "/v1/customers")
    assert (customer["email"], customer["name"]) == (None, None)


@pytest.mark.gen_test
async def test_next_request_after_a_lost_answer_gets_the_same_customer(
    buyer: Buyer, sandbox: Sandbox, quick_retries: None
) -> None:
    sandbox.api.cut(times=3, cut_after=True, path_prefix="/v1/customers")
    assert (await buyer.ask_to_subscribe()).code == 503
    assert (await buyer.ask_to_subscribe(user=ADA)).code == 201
    assert len(objects(sandbox, "/v1/customers")) == 1


@pytest.mark.gen_test
async def test_customer_of_a_subscription_from_another_system_is_used(
    buyer: Buyer, sandbox: Sandbox, shop: Shop, webhooks: Webhooks
) -> None:
    subscription_id = subscribe_elsewhere(sandbox, shop.plan)
    await webhooks.settle()
    started = json_of(await buyer.ask_to_buy())
    payer = sandbox.get(started["payment_intent_id"])["customer"]
    assert payer == sandbox.get(subscription_id)["customer"]
    assert calls(sandbox, *CREATE) == 0


@pytest.mark.gen_test
async def test_customer_is_created_without_an_address_that_stripe_refuses(
    buyer: Buyer, sandbox: Sandbox
) -> None:
    sandbox.api.refuse(status=400, times=1, path_prefix="/v1/customers")
    answer = await buyer.ask_to_subscribe(user={"email": "j..doe@example.com"})
    assert answer.code == 201
    [customer] = objects(sandbox, "/v1/customers")
    assert customer["email"] is None
    assert customer["metadata"] == {"account_uid": ACCOUNT, "made_by": "datalayer-stripe"}


@pytest.mark.gen_test
async def test_customer_that_was_deleted_at_stripe_is_replaced(
    buyer: Buyer, webhooks: Webhooks, sandbox: Sandbox
) -> None:
    await buyer.ask_to_subscribe()
    [deleted] = objects(sandbox, "/v1/customers")
    sandbox.call("DELETE", f"/v1/customers/{deleted['id']}")
    await webhooks.settle()
    await buyer.subscribe()
    [customer] = objects(sandbox, "/v1/customers")
    assert customer["id"] != deleted["id"]
    assert (await buyer.plan())["status"] == "active"
