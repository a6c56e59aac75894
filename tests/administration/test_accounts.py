"""The search for accounts, and the story of one account."""

from datetime import timedelta
from typing import Any

import pytest

from datalayer_stripe.administration.accounts import OperatorAccounts
from datalayer_stripe.errors import NotFound
from datalayer_stripe.models import Identity
from datalayer_stripe.sandbox import Sandbox
from datalayer_stripe.sandbox.delivery.webhooks import Webhooks
from datalayer_stripe.service import Service
from tests.administration.documents import NOW, ledger_row
from tests.support.app import ACCOUNT
from tests.support.shop import Buyer, insert

stores = pytest.mark.parametrize(
    "store_kind", ["memory", pytest.param("mongod", marks=pytest.mark.mongod)]
)
SECOND = timedelta(seconds=1)


def account(uid: str, handle: str | None = None) -> dict[str, Any]:
    return {"_id": uid, "credits": 7, "handle": handle} if handle else {"_id": uid, "credits": 7}


async def found(accounts: OperatorAccounts, query: str, limit: int = 100) -> list[str]:
    """Return the uids of all pages."""
    uids: list[str] = []
    cursor: str | None = None
    while True:
        page = await accounts.page(query, limit=limit, cursor=cursor)
        uids += [one.account_uid for one in page.accounts]
        assert len(page.accounts) == limit or page.next_cursor is None
        cursor = page.next_cursor
        if cursor is None:
            return uids


@stores
@pytest.mark.gen_test
async def test_accounts_are_found_by_uid_handle_and_customer(
    service: Service, store_kind: str
) -> None:
    await insert(
        service,
        "accounts",
        account("ada-1", "ada"),
        account("ada-2", "grace"),
        account("b.d", "adalbert"),
        account("c", "ada"),
        account("d", "ada"),
        account("e", "Ada"),
        account("f"),
    )
    store, accounts = service.store, service.administration.accounts
    await store.customers.claim(Identity(account_uid="c"), NOW)
    await store.customers.assign("c", "cus_now")
    await store.customers.add_former("ada-2", "cus_before", NOW)
    everybody = ["ada-1", "ada-2", "b.d", "c", "d", "e", "f"]
    for limit in (1, 2, 3, 100):
        assert await found(accounts, "", limit) == everybody
        assert await found(accounts, "ada", limit) == ["ada-1", "ada-2", "c", "d", "b.d"]
    assert await found(accounts, "grace") == ["ada-2"]
    assert await found(accounts, ".*") == []
    assert await found(accounts, "b.") == ["b.d"]
    assert await found(accounts, "cus_now") == ["c"]
    assert await found(accounts, "cus_before") == ["ada-2"]
    assert await found(accounts, "cus_other") == []
    page = await accounts.page("c", limit=1)
    assert page.accounts[0].model_dump(exclude={"updated_at"}) == {
        "account_uid": "c",
        "handle": "ada",
        "credits": 7,
        "debt": 0,
        "customer_id": "cus_now",
    }


@stores
@pytest.mark.gen_test
async def test_ledger_and_payments_are_paged(service: Service, store_kind: str) -> None:
    kinds = ("top-up", "spent", "top-up", "refund", "top-up", "spent")
    rows = [
        ledger_row(f"pi_{number}", kind=kind, at=NOW - (number // 2) * SECOND)
        for number, kind in enumerate(kinds)
    ]
    await insert(service, "ledger", *rows, ledger_row("pi_foreign", account="b"))
    accounts = service.administration.accounts
    order = sorted(rows, key=lambda row: (row["created_at"], row["_id"]), reverse=True)
    for limit in (1, 2, 4, 6):
        listed: dict[str, list[str]] = {"ledger": [], "payments": []}
        for name, read in (("ledger", accounts.ledger), ("payments", accounts.payments)):
            cursor: str | None = None
            while True:
                page = await read("a", limit=limit, cursor=cursor)
                listed[name] += [one.id for one in getattr(page, name)]
                cursor = page.next_cursor
                if cursor is None:
                    break
        assert listed["ledger"] == [row["_id"] for row in order]
        assert listed["payments"] == [row["_id"] for row in order if row["kind"] == "top-up"]


@stores
@pytest.mark.gen_test
async def test_payments_are_those_of_the_account_that_a_repair_has_corrected(
    service: Service, store_kind: str
) -> None:
    moved = {"account": "b", "corrected": {"account_uid": "a"}}
    rows = [
        ledger_row("pi_1", at=NOW - SECOND),
        ledger_row("pi_2", at=NOW - SECOND, **moved),
        ledger_row("pi_3", at=NOW, **moved),
        ledger_row("pi_4", at=NOW, corrected={"account_uid": "b"}),
        ledger_row("pi_5", at=NOW, kind="gift", corrected={"kind": "top-up"}),
        ledger_row("re_1", at=NOW, kind="refund", **moved),
    ]
    await insert(service, "ledger", *rows)
    read = service.administration.accounts.payments
    assert [one.id for one in (await read("b", limit=10)).payments] == ["pi_4"]
    for limit in (1, 2, 10):
        found: list[str] = []
        cursor: str | None = None
        while True:
            page = await read("a", limit=limit, cursor=cursor)
            found += [one.id for one in page.payments]
            cursor = page.next_cursor
            if cursor is None:
                break
        assert found == ["pi_5", "pi_3", "pi_2", "pi_1"]


@pytest.mark.gen_test
async def test_story_of_an_account_that_bought_and_was_refunded(
    buyer: Buyer, webhooks: Webhooks, service: Service, sandbox: Sandbox
) -> None:
    subscription = await buyer.subscribe()
    first, second = await buyer.buy(), await buyer.buy()
    refund = sandbox.refund(first["id"], amount=250)
    await webhooks.settle()
    await service.store.accounts.describe(ACCOUNT, handle="ada", email="ada@example.com")

    story = await service.administration.accounts.story(ACCOUNT, limit=2)
    assert (story.account.credits, story.account.handle) == (75, "ada")
    assert story.account.email == "ada@example.com"
    assert "ada@example.com" not in repr(story)
    assert story.customer is not None
    assert story.customer.customer_id == second["customer"]
    assert [one.id for one in story.subscriptions] == [subscription]
    assert [one.id for one in story.ledger] == [refund["id"], second["id"]]
    assert story.ledger_cursor is not None
    assert [one.id for one in story.payments] == [second["id"], first["id"]]
    assert [one.amount_refunded for one in story.payments] == [0, 250]
    assert story.payments[1].reversals == {refund["id"]: 250}
    assert story.payments_cursor is None
    assert len(story.events) == 2
    assert story.events_cursor is not None


@pytest.mark.gen_test
async def test_unknown_account_is_not_found(service: Service) -> None:
    with pytest.raises(NotFound):
        await service.administration.accounts.story("nobody", limit=10)
    # A customer without a balance is an account, too.
    await service.store.customers.claim(Identity(account_uid="new"), NOW)
    await service.store.customers.assign("new", "cus_1")
    story = await service.administration.accounts.story("new", limit=10)
    assert (story.account.account_uid, story.account.credits) == ("new", 0)
