"""Groups of units that are committed in one transaction, on a real MongoDB."""

import asyncio
from collections.abc import Sequence

import pytest

from datalayer_stripe.errors import PluginFault
from datalayer_stripe.service import Service
from datalayer_stripe.store import CommitReceipt, UnitOfWork, commit
from datalayer_stripe.store.commit import Transactions, Work
from datalayer_stripe.store.unit_of_work import UpdateOne
from tests.store.test_store import mark

pytestmark = pytest.mark.mongod


# Plugins' writes


@pytest.mark.gen_test
async def test_slow_plugin_write_delays_no_unit_of_its_group_twice(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(commit, "PLUGIN_WRITE_SECONDS", 0.3)
    store = service.store
    await store._database.plugin_x.insert_one({"_id": 1})
    attempt, sizes = Transactions.attempt, []

    async def count(self: Transactions, works: Sequence[Work]) -> list[CommitReceipt]:
        sizes.append(len(works))
        return await attempt(self, works)

    monkeypatch.setattr(Transactions, "attempt", count)
    slow = {"$where": "sleep(60000) || true"}
    writes = [
        UpdateOne("plugin_x", query, {"$set": {"seen": True}})
        for query in (slow, *({"_id": n} for n in range(7)))
    ]
    outcomes = await asyncio.gather(
        *(store.commit(UnitOfWork([one]), mark(f"evt_{n}")) for n, one in enumerate(writes)),
        return_exceptions=True,
    )
    assert isinstance(outcomes[0], PluginFault)
    assert outcomes[1:] == [CommitReceipt()] * 7
    assert sizes == [8] + [1] * 8, "no smaller group waits for the slow write again"
