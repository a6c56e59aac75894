"""What several collections hold about an account is read with one command."""

import pytest

from datalayer_stripe.models import Account, Identity, LedgerEntry
from datalayer_stripe.service import Service
from datalayer_stripe.store.ledger import Credit
from tests.store.test_store import NOW, snapshot

stores = pytest.mark.parametrize(
    "store_kind", ["memory", pytest.param("mongod", marks=pytest.mark.mongod)]
)


@stores
@pytest.mark.gen_test
async def test_overview_has_account_customer_and_subscriptions(
    service: Service, store_kind: str
) -> None:
    store = service.store
    await store.accounts.describe("a", handle="ada", email=None)
    await store.customers.claim(Identity(account_uid="a"), NOW)
    assert (await store.overviews.of_account("a")).customer_id is None, "a claim is no customer"
    await store.customers.assign("a", "cus_1")
    for subscription_id, account_uid in (("sub_1", "a"), ("sub_2", "a"), ("sub_3", "b")):
        await store.subscriptions.write(snapshot(id=subscription_id, account_uid=account_uid), 0)
    overview = await store.overviews.of_account("a")
    assert overview.account == await store.accounts.get("a")
    assert overview.customer_id == "cus_1"
    assert {one.id for one in overview.snapshots} == {"sub_1", "sub_2"}


@stores
@pytest.mark.gen_test
async def test_account_without_a_document_still_has_its_subscriptions(
    service: Service, store_kind: str
) -> None:
    await service.store.subscriptions.write(snapshot(), 0)
    overview = await service.store.overviews.of_account("a")
    assert overview.account == Account(uid="a")
    assert [one.id for one in overview.snapshots] == ["sub_1"]


@stores
@pytest.mark.gen_test
async def test_overview_of_a_top_up_has_its_row_and_the_balance_of_the_caller(
    service: Service, store_kind: str
) -> None:
    store = service.store
    missing = await store.overviews.of_top_up("a", "pi_1")
    assert (missing.entry, missing.account) == (None, Account(uid="a"))
    entry = LedgerEntry(
        id="pi_1",
        account_uid="a",
        kind="top-up",
        credits=50,
        amount=500,
        currency="usd",
        price_id="price_1",
        event_id="evt_1",
        created_at=NOW,
    )
    await store.repair(Credit(entry))
    found = await store.overviews.of_top_up("a", "pi_1")
    assert found.entry is not None
    assert (found.entry.id, found.account.credits) == ("pi_1", 50)
    of_other = await store.overviews.of_top_up("b", "pi_1")
    assert of_other.entry is not None
    assert (of_other.entry.account_uid, of_other.account.credits) == ("a", 0)
