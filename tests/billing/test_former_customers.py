"""A customer that was deleted at Stripe is not used again, and its payments are credited."""

import json
from typing import Any

import pytest

from datalayer_stripe.errors import Conflict
from datalayer_stripe.models import Identity
from datalayer_stripe.sandbox import Sandbox
from datalayer_stripe.sandbox.delivery.webhooks import Webhooks
from datalayer_stripe.service import Service
from tests.support.app import ACCOUNT, Api, Clock, changed, json_of, recorded
from tests.support.shop import (
    IAM_ROUTES,
    OTHER_ACCOUNT,
    STRIPE_ROUTES,
    Buyer,
    Shop,
    objects,
    rows,
    subscribe_elsewhere,
)

SETUP_INTENT = f"{STRIPE_ROUTES}/subscription/resume/setup-intent"
PORTAL = f"{IAM_ROUTES}/checkout/portal"
PAID = recorded("payment_intent.succeeded")
PAYER = "cus_auG5oDCwpKHLK4"  # of the recorded payment


async def customer_id_of(service: Service, account: str = ACCOUNT) -> str | None:
    return await service.store.customers.get(account)


async def deliver(api: Api, event: dict[str, Any]) -> str:
    """Deliver one of the sandbox's events, and return the outcome."""
    return str(json_of(await api.deliver(json.dumps(event).encode()))["outcome"])


def event_of(sandbox: Sandbox, event_type: str) -> dict[str, Any]:
    """Return the latest event of a type."""
    return [event for event in sandbox.events if event["type"] == event_type][-1]


@pytest.mark.mongod
@pytest.mark.gen_test
async def test_deleted_customer_is_not_used_again(
    buyer: Buyer, service: Service, sandbox: Sandbox, webhooks: Webhooks
) -> None:
    subscription_id = await buyer.subscribe()
    deleted = await customer_id_of(service)
    webhooks.hold()
    sandbox.call("DELETE", f"/v1/customers/{deleted}")
    assert await deliver(buyer.api, event_of(sandbox, "customer.deleted")) == "processed"
    # The snapshot is still active, because the event of the subscription has not arrived.
    assert (await buyer.plan())["id"] == subscription_id
    assert (await buyer.ask_to_buy()).code == 201
    assert await customer_id_of(service) not in (None, deleted)
    assert len(await rows(service, "former_customers")) == 1


@pytest.mark.mongod
@pytest.mark.parametrize("made_by", ["service", "dashboard", "another system"])
@pytest.mark.gen_test
async def test_subscription_ends_when_its_customer_was_deleted_first(
    buyer: Buyer,
    service: Service,
    sandbox: Sandbox,
    webhooks: Webhooks,
    shop: Shop,
    made_by: str,
) -> None:
    if made_by == "service":
        await buyer.subscribe()
    elif made_by == "another system":
        subscribe_elsewhere(sandbox, shop.plan)
        await webhooks.settle()
    else:
        await buyer.ask_to_subscribe()
        customer = await customer_id_of(service)
        sandbox.call("POST", "/v1/payment_methods/pm_card_visa/attach", customer=customer)
        [method] = objects(sandbox, "/v1/payment_methods", customer=customer, type="card")
        sandbox.call(
            "POST",
            "/v1/subscriptions",
            customer=customer,
            items=[{"price": shop.plan}],
            default_payment_method=method["id"],
        )
        await webhooks.settle()
    plan = await buyer.plan()
    assert plan["status"] == "active"
    customer = sandbox.get(plan["id"])["customer"]
    webhooks.hold()
    sandbox.call("DELETE", f"/v1/customers/{customer}")
    assert await deliver(buyer.api, event_of(sandbox, "customer.deleted")) == "processed"
    webhooks.release("reversed")
    await webhooks.settle()
    assert (await buyer.plan())["status"] in ("canceled", "incomplete_expired")
    assert not (await buyer.plan())["is_eligible"]
    assert {attempt.status for attempt in webhooks.attempts} == {200}
    assert [row for row in await rows(service, "events") if row.get("rejected")] == []


@pytest.mark.mongod
@pytest.mark.gen_test
async def test_snapshot_keeps_its_account_without_customer_and_metadata(
    buyer: Buyer, service: Service, sandbox: Sandbox, webhooks: Webhooks
) -> None:
    subscription_id = await buyer.subscribe()
    customers = service.store._database.customers
    await customers.delete_many({})
    sandbox.call("POST", f"/v1/subscriptions/{subscription_id}", metadata={"account_uid": ""})
    sandbox.cancel_subscription(subscription_id)
    await webhooks.settle()
    assert (await buyer.plan())["status"] == "canceled"


@pytest.mark.mongod
@pytest.mark.gen_test
async def test_deleted_customer_of_another_system_is_not_stored(
    buyer: Buyer, service: Service, sandbox: Sandbox, webhooks: Webhooks
) -> None:
    theirs = sandbox.create_customer(name="Ben")["id"]
    sandbox.call("DELETE", f"/v1/customers/{theirs}")
    await webhooks.settle()
    assert await rows(service, "former_customers") == []


async def delete_customer_without_events(
    buyer: Buyer, service: Service, sandbox: Sandbox, webhooks: Webhooks
) -> str:
    """Delete the account's customer at Stripe without events, and return its id."""
    webhooks.drop(1000)
    deleted = await customer_id_of(service)
    assert deleted is not None
    sandbox.call("DELETE", f"/v1/customers/{deleted}")
    return deleted


@pytest.mark.gen_test
async def test_subscribing_replaces_a_customer_that_stripe_does_not_have(
    buyer: Buyer, service: Service, sandbox: Sandbox, webhooks: Webhooks
) -> None:
    await buyer.ask_to_subscribe()
    deleted = await delete_customer_without_events(buyer, service, sandbox, webhooks)
    answer = await buyer.ask_to_subscribe()
    assert answer.code == 201, answer.body
    made = sandbox.get(json_of(answer)["subscription_id"])
    assert made["customer"] == await customer_id_of(service) != deleted


@pytest.mark.parametrize("headers", [{}, {"Idempotency_Key": "order-1"}])
@pytest.mark.gen_test
async def test_top_up_replaces_a_customer_that_stripe_does_not_have(
    buyer: Buyer,
    service: Service,
    sandbox: Sandbox,
    webhooks: Webhooks,
    headers: dict[str, str],
) -> None:
    await buyer.subscribe()
    deleted = await delete_customer_without_events(buyer, service, sandbox, webhooks)
    answer = await buyer.ask_to_buy(**headers)
    assert answer.code == 201, answer.body
    intent = sandbox.get(json_of(answer)["payment_intent_id"])
    assert intent["customer"] == await customer_id_of(service) != deleted
    again = await buyer.ask_to_buy(**headers)
    assert json_of(again)["payment_intent_id"] == intent["id"]


@pytest.mark.gen_test
async def test_portal_is_the_sign_in_page_if_stripe_does_not_have_the_customer(
    buyer: Buyer, service: Service, sandbox: Sandbox, webhooks: Webhooks
) -> None:
    await buyer.ask_to_subscribe()
    await delete_customer_without_events(buyer, service, sandbox, webhooks)
    answer = await buyer.api.post(PORTAL, {"return_url": "https://example.com/"})
    assert answer.code == 200
    assert json_of(answer)["portal"]["url"] == service.portal.url
    assert await customer_id_of(service) is None


@pytest.mark.gen_test
async def test_card_change_is_a_conflict_if_stripe_does_not_have_the_customer(
    buyer: Buyer, service: Service, sandbox: Sandbox, webhooks: Webhooks
) -> None:
    await buyer.subscribe()
    await delete_customer_without_events(buyer, service, sandbox, webhooks)
    answer = await buyer.api.post(SETUP_INTENT)
    assert (answer.code, json_of(answer)["code"]) == (409, "conflict")
    assert await customer_id_of(service) is None
    assert (await buyer.plan())["status"] == "canceled", "the snapshot was refreshed"


@pytest.mark.gen_test
async def test_other_missing_object_does_not_release_the_customer(
    buyer: Buyer, service: Service, sandbox: Sandbox, webhooks: Webhooks
) -> None:
    await buyer.subscribe()
    customer = await customer_id_of(service)
    answer = await buyer.ask_to_subscribe("price_unknown")
    assert answer.code == 404
    assert await customer_id_of(service) == customer
    assert await rows(service, "former_customers") == []


@pytest.mark.mongod
@pytest.mark.gen_test
async def test_payment_by_a_former_customer_is_credited(
    buyer: Buyer, service: Service, sandbox: Sandbox, webhooks: Webhooks, clock: Clock
) -> None:
    await buyer.subscribe()
    started = json_of(await buyer.ask_to_buy())
    webhooks.hold()
    sandbox.confirm_payment(started["client_secret"])
    paid = event_of(sandbox, "payment_intent.succeeded")
    sandbox.call("DELETE", f"/v1/customers/{await customer_id_of(service)}")
    await deliver(buyer.api, event_of(sandbox, "customer.deleted"))
    await buyer.ask_to_subscribe()  # creates another customer
    assert await customer_id_of(service) != paid["data"]["object"]["customer"]
    assert await deliver(buyer.api, paid) == "processed"
    assert await buyer.credits() == 50


@pytest.mark.gen_test
async def test_payment_by_a_former_customer_of_another_account_is_rejected(
    api: Api, service: Service
) -> None:
    former = service.store._database.former_customers
    await former.insert_one({"_id": PAYER, "account_uid": OTHER_ACCOUNT})
    assert json_of(await api.deliver(PAID))["outcome"] == "rejected"
    assert await api.credits() == 0
    await former.update_one({"_id": PAYER}, {"$set": {"account_uid": ACCOUNT}})
    assert json_of(await api.deliver(changed(PAID)))["outcome"] == "processed"
    assert await api.credits() == 50


@pytest.mark.mongod
@pytest.mark.gen_test
async def test_customer_released_by_a_concurrent_request_is_a_conflict(
    service: Service, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    customers, assign = service.store.customers, service.store.customers.assign

    async def release_first(account_uid: str, customer_id: str) -> str | None:
        await assign(account_uid, customer_id)
        await customers.release(customer_id, clock())
        return await assign(account_uid, customer_id)

    async def created(_: Any) -> str:
        return "cus_1"

    async def return_id(customer_id: str) -> str:
        return customer_id

    monkeypatch.setattr(customers, "assign", release_first)
    monkeypatch.setattr(service.customers, "_create", created)
    with pytest.raises(Conflict):
        await service.customers.run_with_customer(Identity(account_uid="a"), return_id)
    monkeypatch.setattr(customers, "assign", assign)
    assert (
        await service.customers.run_with_customer(Identity(account_uid="a"), return_id) == "cus_1"
    )
