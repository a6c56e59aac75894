"""Repairs of balances after ledger rows were deleted by hand."""

from datetime import UTC, datetime

import pytest

from datalayer_stripe.store import Store
from datalayer_stripe.store.repairs import Repair, RepairBalance
from tests.support.database import connect

NOW = datetime(2026, 11, 1, tzinfo=UTC)
REPAIR = Repair("repair-1", "audit", NOW, floor=False)


async def repair_balance(store: Store, credits: int) -> None:
    """Set the balance of an account without a ledger to a wrong number, and repair it."""
    await store._database.accounts.update_one(
        {"_id": "ada"}, {"$set": {"credits": credits}}, upsert=True
    )
    await store.repair(RepairBalance("ada", REPAIR))


@pytest.mark.gen_test
async def test_balance_is_repaired_after_an_earlier_correction_was_deleted() -> None:
    store = await connect("memory://", livemode=False)
    await repair_balance(store, 7)
    await repair_balance(store, 8)
    await store._database.ledger.delete_one({"_id": "correction-ada-1"})
    await repair_balance(store, 9)
    rows = [row["_id"] async for row in store._database.ledger.find({}).sort("_id", 1)]
    assert rows == ["correction-ada-2", "correction-ada-3"]
    assert (await store.accounts.get("ada")).credits == 0
    await store.close()
