"""Accounts get existing customers, or new ones; nothing that is linked otherwise is changed."""

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from datalayer_stripe.billing.metadata import customer_metadata
from datalayer_stripe.errors import StripeUnavailable
from datalayer_stripe.models import Identity
from datalayer_stripe.provisioning.customer_links import CustomerResult, Link, Outcome
from datalayer_stripe.provisioning.customers import CustomerImport, CustomerSync
from datalayer_stripe.sandbox import Sandbox
from datalayer_stripe.service import Service
from tests.support.app import ACCOUNT
from tests.support.shop import OTHER_ACCOUNT, Buyer, Shop, calls, objects, rows, subscribe_elsewhere

pytestmark = [pytest.mark.mongod, pytest.mark.usefixtures("quick_retries", "shop", "unlimited")]


def customer(sandbox: Sandbox, **params: Any) -> str:
    """Create a customer of another system at Stripe."""
    return str(sandbox.call("POST", "/v1/customers", **params)["id"])


def link(account: str, customer_id: str, line: int | None = None) -> Link:
    return Link(account_uid=account, customer_id=customer_id, line=line)


async def import_links(
    service: Service, links: Sequence[Link], **options: Any
) -> list[CustomerResult]:
    """Import links, and return the result of each."""
    results: list[CustomerResult] = []
    await importer(service, results, **options).run(links)
    return results


def importer(service: Service, results: list[CustomerResult], **options: Any) -> CustomerImport:
    return CustomerImport(
        service.store,
        service.stripe,
        service.subscriptions,
        service.clock,
        livemode=False,
        on_result=results.append,
        **options,
    )


async def sync(
    service: Service, accounts: Sequence[Identity] | None = None, **options: Any
) -> list[CustomerResult]:
    """Synchronize these accounts or all, and return the result of each."""
    results: list[CustomerResult] = []
    task = CustomerSync(service.store, service.customers, on_result=results.append, **options)
    await (task.run_for_all() if accounts is None else task.run(accounts))
    return results


def outcomes(results: Sequence[CustomerResult]) -> list[Outcome]:
    return [result.outcome for result in results]


@pytest.mark.gen_test
async def test_import_links_customers_once(service: Service, sandbox: Sandbox) -> None:
    links = [link(f"account-{n}", customer(sandbox), line=n + 2) for n in range(3)]
    planned = await import_links(service, links, dry_run=True)
    assert outcomes(planned) == [Outcome.ADDED] * 3
    assert await rows(service, "customers") == [], "a dry run changes nothing"

    assert outcomes(await import_links(service, links[:1])) == [Outcome.ADDED]
    results = await import_links(service, links)
    assert outcomes(results) == [Outcome.ALREADY, Outcome.ADDED, Outcome.ADDED]
    assert [result.line for result in results] == [2, 3, 4], "in the order of the file"
    for one in links:
        assert await service.store.customers.get(one.account_uid) == one.customer_id

    before = len(sandbox.api.calls)
    assert outcomes(await import_links(service, links)) == [Outcome.ALREADY] * 3
    assert len(sandbox.api.calls) == before, "what is done is not looked up again"


@pytest.mark.gen_test
async def test_purchase_uses_the_imported_customer(
    service: Service, sandbox: Sandbox, buyer: Buyer, webhooks: Any
) -> None:
    imported = customer(sandbox)
    await import_links(service, [link(ACCOUNT, imported)])
    await buyer.subscribe()
    assert (await buyer.buy())["customer"] == imported
    assert await buyer.credits() == 50
    assert len(objects(sandbox, "/v1/customers")) == 1


@pytest.mark.gen_test
async def test_import_stores_the_subscription_of_the_customer(
    service: Service, sandbox: Sandbox, shop: Shop, buyer: Buyer
) -> None:
    subscription = sandbox.get(subscribe_elsewhere(sandbox, shop.plan, account=""))
    [result] = await import_links(service, [link(ACCOUNT, subscription["customer"])])
    assert result.outcome is Outcome.ADDED
    assert (await buyer.plan())["id"] == subscription["id"]
    assert (await buyer.ask_to_subscribe()).code == 409


@pytest.mark.gen_test
async def test_customer_that_does_not_exist_or_is_deleted_is_refused(
    service: Service, sandbox: Sandbox
) -> None:
    deleted = customer(sandbox)
    sandbox.call("DELETE", f"/v1/customers/{deleted}")
    results = await import_links(service, [link("a", "cus_unknown"), link("b", deleted)])
    assert [result.reason for result in results] == [
        "Stripe has no such customer in test mode",
        "the customer is deleted at Stripe",
    ]
    assert await rows(service, "customers") == []


@pytest.mark.gen_test
async def test_customer_of_the_other_mode_is_refused(service: Service, sandbox: Sandbox) -> None:
    other = customer(sandbox)
    sandbox.put({**sandbox.get(other), "livemode": True})
    [result] = await import_links(service, [link("a", other)])
    assert result.reason == "the customer is of the other mode"


@pytest.mark.gen_test
async def test_account_or_customer_that_is_linked_otherwise_is_not_changed(
    service: Service, sandbox: Sandbox
) -> None:
    used, former, free = customer(sandbox), customer(sandbox), customer(sandbox)
    await import_links(service, [link("alice", former)])
    await service.store.customers.release(former, service.clock())
    await import_links(service, [link("alice", used)])
    before = await rows(service, "customers"), await rows(service, "former_customers")

    results = await import_links(
        service,
        [link("alice", free), link("bob", used), link("carol", former), link("alice", former)],
    )
    assert [result.reason for result in results] == [
        f"the account has the customer {used}",
        "the customer belongs to account alice",
        "the customer belongs to account alice",
        "a former customer of the account, which is not used again",
    ]
    assert before == (await rows(service, "customers"), await rows(service, "former_customers"))


@pytest.mark.gen_test
async def test_customer_that_pays_for_or_was_made_for_another_account_is_refused(
    service: Service, sandbox: Sandbox, shop: Shop
) -> None:
    made = customer(sandbox, metadata=customer_metadata(OTHER_ACCOUNT))
    at_stripe = sandbox.get(subscribe_elsewhere(sandbox, shop.plan, account=OTHER_ACCOUNT))
    stored = sandbox.get(subscribe_elsewhere(sandbox, shop.plan, account=OTHER_ACCOUNT))
    await service.subscriptions.refresh(stored["id"])
    sandbox.call("DELETE", f"/v1/subscriptions/{stored['id']}")
    customers = [made, at_stripe["customer"], stored["customer"]]
    results = await import_links(service, [link(f"a{n}", one) for n, one in enumerate(customers)])
    reason = f"the customer belongs to account {OTHER_ACCOUNT}"
    assert [result.reason for result in results] == [reason] * 3
    assert await rows(service, "customers") == []


@pytest.mark.gen_test
async def test_two_imports_at_the_same_time_link_a_customer_to_one_account(
    service: Service, sandbox: Sandbox
) -> None:
    customers = [customer(sandbox) for _ in range(6)]
    files = [
        [link(f"{name}-{n}", one) for n, one in enumerate(customers)]
        for name in ("first", "second")
    ]
    results = await asyncio.gather(*(import_links(service, links) for links in files))
    for one, other in zip(*results, strict=True):
        assert sorted([one.outcome, other.outcome]) == [Outcome.ADDED, Outcome.REFUSED]
        linked = one if one.outcome is Outcome.ADDED else other
        assert await service.store.customers.get(linked.account_uid or "") == linked.customer_id
    assert len(await rows(service, "customers")) == len(customers)


@pytest.mark.gen_test
async def test_two_imports_of_one_file_at_the_same_time_have_the_effect_of_one(
    service: Service, sandbox: Sandbox
) -> None:
    links = [link(f"account-{n}", customer(sandbox)) for n in range(6)]
    results = await asyncio.gather(*(import_links(service, links) for _ in range(2)))
    assert Outcome.REFUSED not in [one.outcome for run in results for one in run]
    assert len(await rows(service, "customers")) == len(links)


@pytest.mark.gen_test
async def test_accounts_are_read_from_metadata_and_never_from_addresses(
    service: Service, sandbox: Sandbox
) -> None:
    alice = customer(sandbox, metadata={"owner": "alice"}, email="alice@example.com")
    customer(sandbox, email="bob@example.com")
    twins = [customer(sandbox, metadata={"owner": "twin"}) for _ in range(2)]
    address = customer(sandbox, metadata={"owner": "dave@example.com"})
    sandbox.put({**sandbox.get(alice), "id": "own-id", "metadata": {"owner": "erin"}})
    read: list[int] = []
    links, refused = await importer(service, []).links_in_metadata("owner", read.append)
    assert [(one.account_uid, one.customer_id) for one in links] == [("alice", alice)]
    assert {one.customer_id: one.reason for one in refused} == {
        address: "metadata owner is not the uid of an account",
        "own-id": "the customer's id has not the form cus_…",
        **dict.fromkeys(twins, f"several customers for the account: {', '.join(sorted(twins))}"),
    }
    assert "dave" not in str(refused)
    assert sum(read) == 6
    assert outcomes(await import_links(service, links)) == [Outcome.ADDED]


@pytest.mark.gen_test
async def test_import_that_stripe_interrupts_reports_what_was_done_and_continues_later(
    service: Service, sandbox: Sandbox
) -> None:
    links = [link(f"account-{n}", customer(sandbox)) for n in range(12)]
    sandbox.api.refuse(status=500, times=1000, path_prefix=f"/v1/customers/{links[9].customer_id}")
    results: list[CustomerResult] = []
    with pytest.raises(StripeUnavailable):
        await importer(service, results).run(links)
    assert set(outcomes(results)) == {Outcome.ADDED}
    assert len(results) == len(await rows(service, "customers"))
    assert 2 <= len(results) < 12
    sandbox.api.normal()
    again = await import_links(service, links)
    assert outcomes(again).count(Outcome.ALREADY) == len(results)
    assert len(await rows(service, "customers")) == len(links)


@pytest.mark.gen_test
async def test_call_that_the_rate_limit_refuses_is_repeated(
    service: Service, sandbox: Sandbox
) -> None:
    waits: list[float] = []

    async def sleep(seconds: float) -> None:
        waits.append(seconds)
        sandbox.api.normal()

    one = link("alice", customer(sandbox))
    sandbox.api.refuse(status=429, times=1000, path_prefix="/v1/customers")
    assert outcomes(await import_links(service, [one], sleep=sleep)) == [Outcome.ADDED]
    sandbox.api.refuse(status=429, times=1000, path_prefix="/v1/customers")
    bob = [Identity(account_uid="bob")]
    assert outcomes(await sync(service, bob, sleep=sleep)) == [Outcome.ADDED]
    assert len(waits) == 2


@pytest.mark.gen_test
async def test_sync_creates_the_missing_customers_of_all_accounts_once(
    service: Service, sandbox: Sandbox
) -> None:
    known = customer(sandbox)
    await import_links(service, [link("has-one", known)])
    for account, email in (("has-one", None), ("lacks-one", "owner@example.com")):
        await service.store.accounts.describe(account, handle=None, email=email)
    planned = await sync(service, dry_run=True)
    assert outcomes(planned) == [Outcome.ALREADY, Outcome.ADDED]
    assert len(objects(sandbox, "/v1/customers")) == 1, "a dry run creates nothing"

    _, added = await sync(service)
    assert added.customer_id == await service.store.customers.get("lacks-one")
    made = sandbox.get(added.customer_id or "")
    assert (made["email"], made["metadata"]) == (
        "owner@example.com",
        customer_metadata("lacks-one"),
    )
    assert outcomes(await sync(service)) == [Outcome.ALREADY] * 2
    assert len(objects(sandbox, "/v1/customers")) == 2


@pytest.mark.gen_test
async def test_two_syncs_at_the_same_time_create_one_customer_each(
    service: Service, sandbox: Sandbox
) -> None:
    accounts = [Identity(account_uid=f"account-{n}", name="Someone") for n in range(6)]
    await asyncio.gather(sync(service, accounts), sync(service, accounts))
    assert len(objects(sandbox, "/v1/customers")) == len(accounts)
    assert len(await rows(service, "customers")) == len(accounts)


@pytest.mark.gen_test
async def test_sync_pages_through_the_accounts(
    service: Service, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("datalayer_stripe.provisioning.customers.BATCH_SIZE", 2)
    for n in range(4):
        await service.store.accounts.describe(f"account-{n}", handle=None, email=None)
    await service.store._database.accounts.insert_one({"_id": "not valid"})
    assert [one.account_uid for one in await sync(service)] == [f"account-{n}" for n in range(4)]
    assert calls(sandbox, "POST", "/v1/customers") == 4


@pytest.mark.gen_test
async def test_calls_of_import_and_sync_wait_for_permits_of_the_shared_limit(
    service: Service, sandbox: Sandbox
) -> None:
    await import_links(service, [link("alice", customer(sandbox))])
    await sync(service, [Identity(account_uid="bob")])
    [permits] = [row for row in await rows(service, "service") if row["_id"] == "stripe-permits"]
    wanted = {"customers_retrieve", "subscriptions_list", "customers_create"}
    assert wanted <= set(permits["operations"])


@pytest.mark.gen_test
async def test_account_whose_purchase_was_interrupted_gets_its_customer(
    service: Service, sandbox: Sandbox
) -> None:
    interrupted = [Identity(account_uid="alice"), Identity(account_uid="bob")]
    for identity in interrupted:
        await service.store.customers.claim(identity, service.clock())
    imported = customer(sandbox)
    assert outcomes(await import_links(service, [link("alice", imported)])) == [Outcome.ADDED]
    assert outcomes(await sync(service, interrupted)) == [Outcome.ALREADY, Outcome.ADDED]
    assert await service.store.customers.get("alice") == imported
    assert "key" not in (await rows(service, "customers"))[0], "the claim is settled"


@pytest.mark.gen_test
async def test_run_that_ended_before_the_subscriptions_is_completed(
    service: Service, sandbox: Sandbox, shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    subscription = sandbox.get(subscribe_elsewhere(sandbox, shop.plan, account=""))

    async def end(*_: Any) -> None:
        raise StripeUnavailable

    with monkeypatch.context() as patch:
        patch.setattr(type(service.subscriptions), "refresh", end)
        with pytest.raises(StripeUnavailable):
            await import_links(service, [link(ACCOUNT, subscription["customer"])])
    results = await import_links(service, [link(ACCOUNT, subscription["customer"])])
    assert outcomes(results) == [Outcome.ALREADY]
    assert [row["_id"] for row in await rows(service, "subscriptions")] == [subscription["id"]]


@pytest.mark.gen_test
async def test_subscription_whose_events_came_before_the_import_is_stored(
    service: Service, sandbox: Sandbox, shop: Shop, buyer: Buyer, webhooks: None
) -> None:
    subscription = sandbox.get(subscribe_elsewhere(sandbox, shop.plan, account=""))
    await sandbox.webhooks.settle()
    assert outcomes(await import_links(service, [link(ACCOUNT, subscription["customer"])])) == [
        Outcome.ADDED
    ]
    assert (await buyer.plan())["id"] == subscription["id"]


@pytest.mark.gen_test
async def test_customer_that_has_paid_for_another_account_is_not_linked(
    service: Service, sandbox: Sandbox, shop: Shop
) -> None:
    payer = customer(sandbox)
    sandbox.call(
        "POST",
        "/v1/payment_intents",
        amount=500,
        currency="usd",
        customer=payer,
        metadata={"account_uid": OTHER_ACCOUNT},
    )
    [result] = await import_links(service, [link(ACCOUNT, payer)])
    assert result.outcome is Outcome.REFUSED
    assert result.reason == f"the customer belongs to account {OTHER_ACCOUNT}"
