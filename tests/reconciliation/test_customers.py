"""Reconciliation rebuilds the customers of accounts from Stripe's customers."""

import json
from datetime import timedelta
from typing import Any

import pytest

from datalayer_stripe.billing.metadata import customer_metadata
from datalayer_stripe.reconciliation.customer_sweep import CustomerSweep
from datalayer_stripe.reconciliation.findings import Finding
from datalayer_stripe.sandbox import Sandbox
from datalayer_stripe.sandbox.delivery.webhooks import Webhooks
from datalayer_stripe.service import Service
from tests.support.app import ACCOUNT, Clock, json_of
from tests.support.shop import OTHER_ACCOUNT, Buyer, Shop, calls, objects, rows

pytestmark = [pytest.mark.mongod, pytest.mark.usefixtures("webhooks", "unlimited")]


async def reconcile(
    service: Service, clock: Clock, *, dry_run: bool = False, days: int = 30
) -> list[Finding]:
    """Reconcile, and return the findings about customers."""
    found: list[Finding] = []
    reconciliation = service.reconciliation(dry_run=dry_run, on_finding=found.append)
    await reconciliation.run(clock() - timedelta(days=days))
    return [finding for finding in found if finding.kind == "customer"]


async def empty(service: Service, *collections: str) -> None:
    """Empty collections, as after the restore of an old backup."""
    for name in collections:
        await service.store._database[name].delete_many({})


def metadata_of(account: str) -> dict[str, str]:
    """Return the metadata of a customer that the service has created."""
    return customer_metadata(account)


def customer(sandbox: Sandbox, account: str = ACCOUNT, **params: Any) -> str:
    """Create another customer of an account at Stripe."""
    made = sandbox.call("POST", "/v1/customers", metadata=metadata_of(account), **params)
    return str(made["id"])


def subscribe(sandbox: Sandbox, shop: Shop, customer_id: str) -> None:
    """Give a customer a running subscription."""
    [method] = objects(sandbox, "/v1/payment_methods", customer=customer_id, type="card")
    sandbox.call(
        "POST",
        "/v1/subscriptions",
        customer=customer_id,
        items=[{"price": shop.plan}],
        default_payment_method=method["id"],
    )


@pytest.mark.gen_test
async def test_customer_is_rebuilt_after_restore_and_second_subscription_refused(
    buyer: Buyer, service: Service, sandbox: Sandbox, clock: Clock
) -> None:
    await buyer.subscribe()
    [made] = objects(sandbox, "/v1/customers")
    await empty(service, "customers", "subscriptions", "events")
    clock.advance(minutes=6)
    [missing] = await reconcile(service, clock, dry_run=True)
    assert (missing.id, missing.outcome) == (made["id"], None)
    assert await rows(service, "customers") == [], "a dry run changes nothing"

    [processed] = await reconcile(service, clock)
    assert (processed.id, processed.outcome) == (made["id"], "processed")
    assert await service.store.customers.get(ACCOUNT) == made["id"]
    assert await reconcile(service, clock) == []
    assert (await buyer.ask_to_subscribe()).code == 409
    assert calls(sandbox, "POST", "/v1/customers") == 1
    await buyer.buy()
    assert await buyer.credits() == 50


@pytest.mark.gen_test
async def test_rejected_payment_is_credited_after_its_customer_was_rebuilt(
    buyer: Buyer, service: Service, sandbox: Sandbox, webhooks: Webhooks, clock: Clock
) -> None:
    await buyer.subscribe()
    [first] = objects(sandbox, "/v1/customers")
    started = json_of(await buyer.ask_to_buy())
    await empty(service, "customers", "subscriptions", "events")
    await buyer.ask_to_subscribe()  # The service ran before it was reconciled: a second customer.
    second = await service.store.customers.get(ACCOUNT)
    assert second != first["id"]
    webhooks.hold()
    sandbox.confirm_payment(started["client_secret"])
    [paid] = [
        event
        for event in sandbox.events
        if event["type"] == "payment_intent.succeeded"
        and event["data"]["object"]["id"] == started["payment_intent_id"]
    ]
    answer = await buyer.api.deliver(json.dumps(paid).encode())
    assert json_of(answer)["outcome"] == "rejected"

    [found] = await reconcile(service, clock)
    assert (found.id, found.detail) == (first["id"], f"an additional customer of {ACCOUNT}")
    assert await service.store.customers.get(ACCOUNT) == second, "it is in use"
    assert await buyer.credits() == 50
    assert (await buyer.ask_to_subscribe()).code == 409, "the first one's subscription runs"


@pytest.mark.parametrize("subscribed", [None, 0, 1])
@pytest.mark.gen_test
async def test_subscribed_or_else_oldest_customer_is_chosen(
    buyer: Buyer,
    service: Service,
    sandbox: Sandbox,
    shop: Shop,
    webhooks: Webhooks,
    clock: Clock,
    subscribed: int | None,
) -> None:
    made = []
    for _ in range(2):
        made.append(customer(sandbox, payment_method="pm_card_visa"))
        clock.advance(seconds=1)
    if subscribed is not None:
        webhooks.drop(1000)
        subscribe(sandbox, shop, made[subscribed])
    found = await reconcile(service, clock)
    assert {finding.id for finding in found} == set(made)
    assert await service.store.customers.get(ACCOUNT) == made[subscribed or 0]
    [former] = await rows(service, "former_customers")
    assert (former["_id"], former["account_uid"]) == (made[1 - (subscribed or 0)], ACCOUNT)
    assert await reconcile(service, clock) == []


@pytest.mark.gen_test
async def test_customer_with_unreadable_subscription_is_rebuilt(
    service: Service,
    sandbox: Sandbox,
    shop: Shop,
    webhooks: Webhooks,
    clock: Clock,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    webhooks.drop(1000)
    customer(sandbox)
    clock.advance(seconds=1)
    subscribed = customer(sandbox, payment_method="pm_card_visa")
    subscribe(sandbox, shop, subscribed)
    list_subscriptions = service.stripe.list_subscriptions

    async def unreadable(customer_id: str) -> list[dict[str, Any]]:
        listed = await list_subscriptions(customer_id)
        return [{**one, "created": "yesterday"} for one in listed]

    monkeypatch.setattr(service.stripe, "list_subscriptions", unreadable)
    await reconcile(service, clock)
    assert await service.store.customers.get(ACCOUNT) == subscribed


@pytest.mark.gen_test
async def test_customers_of_other_systems_are_not_changed(
    buyer: Buyer, service: Service, sandbox: Sandbox, clock: Clock
) -> None:
    sandbox.create_customer(name="Ben")
    sandbox.call("POST", "/v1/customers", metadata=metadata_of("not an account"))
    sandbox.call("POST", "/v1/customers", metadata={"user": "7"})
    sandbox.call("POST", "/v1/customers", metadata={"account_uid": ACCOUNT})
    sandbox.call("POST", "/v1/customers", metadata={"account_uid": ACCOUNT, "made_by": "others"})
    before = len(sandbox.api.calls)
    assert await reconcile(service, clock) == []
    assert await rows(service, "customers") == []
    assert await rows(service, "former_customers") == []
    assert {call.method for call in sandbox.api.calls[before:]} == {"GET"}


@pytest.mark.gen_test
async def test_deleted_customer_that_is_in_use_is_released(
    buyer: Buyer, service: Service, sandbox: Sandbox, webhooks: Webhooks, clock: Clock
) -> None:
    subscription_id = await buyer.subscribe()
    deleted = await service.store.customers.get(ACCOUNT)
    assert deleted is not None
    sandbox.call("DELETE", f"/v1/customers/{deleted}")
    await webhooks.settle()
    # The customer is in use again after its event, as in data of an earlier version.
    await empty(service, "customers", "former_customers")
    await service.store.customers.adopt(ACCOUNT, deleted, clock())
    clock.advance(minutes=6)
    [missing] = await reconcile(service, clock, dry_run=True)
    assert missing.id == deleted
    [processed] = await reconcile(service, clock)
    assert (processed.id, processed.outcome) == (deleted, "processed")
    assert await service.store.customers.get(ACCOUNT) is None
    assert (await service.store.subscriptions.by_ids([subscription_id]))[
        subscription_id
    ].status == "canceled"


@pytest.mark.gen_test
async def test_customer_missing_at_stripe_is_replaced(
    buyer: Buyer, service: Service, sandbox: Sandbox, webhooks: Webhooks, clock: Clock
) -> None:
    webhooks.drop(1000)
    await service.store.customers.adopt(ACCOUNT, "cus_lost", clock())
    found = customer(sandbox)
    clock.advance(minutes=6)
    assert len(await reconcile(service, clock, dry_run=True)) == 2
    assert [one.id for one in await reconcile(service, clock)] == ["cus_lost", found]
    assert await service.store.customers.get(ACCOUNT) == found


@pytest.mark.gen_test
async def test_claim_gets_customer_that_no_other_account_uses(
    buyer: Buyer, service: Service, sandbox: Sandbox, clock: Clock
) -> None:
    await service.store._database.customers.insert_one({"_id": ACCOUNT, "created_at": clock()})
    mine, theirs = customer(sandbox), customer(sandbox)
    await service.store.customers.adopt(OTHER_ACCOUNT, theirs, clock())
    assert [one.id for one in await reconcile(service, clock)] == [mine]
    assert await service.store.customers.get(ACCOUNT) == mine
    assert await service.store.customers.get(OTHER_ACCOUNT) == theirs
    assert await rows(service, "former_customers") == []


@pytest.mark.parametrize("assigned", ["before", "during"])
@pytest.mark.gen_test
async def test_customer_assigned_during_sweep_is_not_stored_as_former(
    service: Service,
    sandbox: Sandbox,
    clock: Clock,
    monkeypatch: pytest.MonkeyPatch,
    assigned: str,
) -> None:
    customers = service.store.customers
    older = customer(sandbox)
    clock.advance(seconds=1)
    made = customer(sandbox)
    sweep = CustomerSweep(
        service.store, service.stripe, service.subscriptions, clock, dry_run=False
    )
    await sweep.collect(objects(sandbox, "/v1/customers"), clock())
    adopt = customers.adopt

    async def adopt_after_another(*arguments: Any) -> None:
        await adopt(ACCOUNT, made, clock())
        await adopt(*arguments)

    if assigned == "before":
        await adopt(ACCOUNT, made, clock())
    else:
        monkeypatch.setattr(customers, "adopt", adopt_after_another)
    async for _ in sweep.rebuild():
        pass
    assert await customers.get(ACCOUNT) == made
    assert [row["_id"] for row in await rows(service, "former_customers")] == [older]


@pytest.mark.gen_test
async def test_second_subscription_is_refused_after_former_customer_was_found(
    buyer: Buyer, service: Service, sandbox: Sandbox, webhooks: Webhooks, shop: Shop, clock: Clock
) -> None:
    await buyer.ask_to_subscribe()  # The account has a customer.
    webhooks.drop(1000)
    other = customer(sandbox, payment_method="pm_card_visa")
    subscribe(sandbox, shop, other)
    sweep = CustomerSweep(
        service.store, service.stripe, service.subscriptions, clock, dry_run=False
    )
    async for page in service.stripe.customer_pages(created_since=clock() - timedelta(days=1)):
        await sweep.collect(page, clock() + timedelta(seconds=5))
    assert [found.customer_id async for found in sweep.rebuild()] == [other]
    assert (await buyer.ask_to_subscribe()).code == 409
