"""The scratch collections of audits, on a real MongoDB."""

from datetime import UTC, datetime, timedelta

import pytest
from bson import ObjectId

from datalayer_stripe.service import Service


@pytest.mark.mongod
@pytest.mark.gen_test
async def test_audit_drops_collections_of_audits_that_were_killed(service: Service) -> None:
    def name(age: timedelta) -> str:
        return f"audit_{ObjectId.from_datetime(datetime.now(UTC) - age)}"

    database = service.store._database
    killed, running = name(timedelta(days=8)), name(timedelta(hours=1))
    for collection in (killed, running, "audit_of_another_system"):
        await database[collection].insert_one({"_id": "pi_1"})

    async with service.store.audits.scratch_collection() as seen:
        await seen.add(["pi_2"])
        names = set(await database.list_collection_names())
        assert killed not in names
        assert {running, "audit_of_another_system"} < names

    names = await database.list_collection_names()
    assert {one for one in names if one.startswith("audit_")} == {
        running,
        "audit_of_another_system",
    }
