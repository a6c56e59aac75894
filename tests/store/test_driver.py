"""The calls that differ between the drivers, on both drivers."""

from collections.abc import Iterator
from typing import Any

import pytest
from motor.motor_asyncio import AsyncIOMotorClient
from pymongo import AsyncMongoClient
from tornado.ioloop import IOLoop

from datalayer_stripe.store import driver

pytestmark = pytest.mark.mongod


@pytest.fixture(params=[AsyncIOMotorClient, AsyncMongoClient])
def client(request: pytest.FixtureRequest, io_loop: IOLoop, mongodb_url: str) -> Iterator[Any]:
    async def create() -> Any:
        return request.param(mongodb_url)

    client = io_loop.run_sync(create)
    yield client
    io_loop.run_sync(lambda: driver.close(client))


async def names_of(client: Any) -> list[str]:
    rows = client.get_default_database().things.find().sort("_id", 1)
    return [row["_id"] async for row in rows]


@pytest.mark.gen_test
async def test_transaction_is_committed(client: Any) -> None:
    things = client.get_default_database().things
    async with await driver.start_session(client) as session:
        await driver.start_transaction(session)
        await things.insert_one({"_id": "a"}, session=session)
        assert await names_of(client) == []
        await session.commit_transaction()
    assert await names_of(client) == ["a"]


@pytest.mark.gen_test
async def test_transaction_is_aborted(client: Any) -> None:
    things = client.get_default_database().things
    async with await driver.start_session(client) as session:
        await driver.start_transaction(session)
        await things.insert_one({"_id": "a"}, session=session)
        await session.abort_transaction()
    assert await names_of(client) == []


@pytest.mark.gen_test
async def test_aggregate_returns_all_documents(client: Any) -> None:
    things = client.get_default_database().things
    # The server's first batch has 101 documents.
    await things.insert_many([{"_id": number, "odd": number % 2 == 1} for number in range(300)])
    stages = [{"$match": {"odd": True}}, {"$sort": {"_id": 1}}]
    found = await driver.aggregate(things, stages)
    assert [row["_id"] for row in found] == list(range(1, 300, 2))


@pytest.mark.gen_test
async def test_watch_reports_changes(client: Any) -> None:
    database = client.get_default_database()
    now = (await client.admin.command("ping"))["operationTime"]
    await database.things.insert_one({"_id": "a"})
    stages = [{"$match": {"operationType": "insert"}}]
    async with await driver.watch(database, stages, start_at_operation_time=now) as stream:
        async for change in stream:
            assert change["documentKey"] == {"_id": "a"}
            break


@pytest.mark.gen_test
async def test_closed_client_cannot_be_used(client: Any) -> None:
    await client.admin.command("ping")
    await driver.close(client)
    with pytest.raises(Exception, match="after close"):
        await client.admin.command("ping")
