"""2xx only for durable effects: two `serve` processes and three mongods, which are killed."""

import asyncio
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from pymongo import MongoClient
from pymongo.errors import PyMongoError
from tornado.httpclient import AsyncHTTPClient

from datalayer_stripe.errors import StoreUnavailable
from datalayer_stripe.events import Event
from datalayer_stripe.sandbox import Sandbox
from datalayer_stripe.store import UnitOfWork
from datalayer_stripe.store.marks import Mark
from tests.faults import report
from tests.faults.cluster import Cluster, ServeProcess, cluster, environment_variables, wait_until
from tests.support.app import ACCOUNT, recorded, sign
from tests.support.database import connect
from tests.support.mongod import Mongod, initiate, replica_set_url, wait_for_primary
from tests.support.shop import WEBHOOK_ROUTE, Shop

pytestmark = pytest.mark.faults

PAID = recorded("payment_intent.succeeded")
EVENT = Event.model_validate_json(PAID)


async def deliver(served: ServeProcess) -> int:
    http = AsyncHTTPClient(force_instance=True)
    try:
        answer = await http.fetch(
            served.url + WEBHOOK_ROUTE,
            method="POST",
            headers={"Stripe-Signature": sign(PAID)},
            body=PAID,
            request_timeout=60,
            raise_error=False,
        )
    finally:
        http.close()
    return answer.code


def admin(mongod: Mongod, command: str, value: Any = 1) -> dict[str, Any]:
    with MongoClient[dict[str, Any]](mongod.direct_url) as client:
        return dict(client.admin.command(command, value))


def delay_step_down(primary: Mongod) -> None:
    """Let the primary stay primary for a minute without the others, as in a slow network."""
    config = admin(primary, "replSetGetConfig")["config"]
    config["settings"]["electionTimeoutMillis"] = 60_000
    config["version"] += 1
    admin(primary, "replSetReconfig", config)


async def elect_one_of(members: Sequence[Mongod]) -> None:
    """Make one of the members the primary now."""

    async def stepped_up() -> bool:
        try:
            admin(members[0], "replSetStepUp")
        except PyMongoError:
            return False  # it has not connected to the others yet
        return True

    await wait_until(stepped_up, "no member becomes primary")
    await asyncio.to_thread(wait_for_primary, members)


def has_mark(primary: Mongod) -> bool:
    """Return whether the primary itself has the mark, durable or not."""
    with MongoClient[dict[str, Any]](primary.direct_url) as client:
        return client.get_database("datalayer_stripe").events.find_one() is not None


async def credits(running: Cluster, url: str) -> list[int]:
    """Return the balance and the credits of the ledger's rows."""
    await running.wait_until_ready()
    with MongoClient[dict[str, Any]](url) as client:
        database = client.get_database("datalayer_stripe")
        account = database.accounts.find_one({"_id": ACCOUNT}) or {"credits": 0}
        return [account["credits"], *(row["credits"] for row in database.ledger.find())]


@pytest.fixture
def members(new_mongod: Callable[[str | None], Mongod]) -> list[Mongod]:
    """Return the members of a replica set, first the primary, which does not step down."""
    members = [new_mongod("rs0") for _ in range(3)]
    primary = initiate(members)
    delay_step_down(primary)
    return sorted(members, key=lambda member: member is not primary)


@pytest.mark.gen_test
async def test_mark_that_only_the_primary_has_does_not_count_as_done(
    members: Sequence[Mongod],
) -> None:
    url = replica_set_url(members)
    await (
        await connect(url, livemode=False)
    ).close()  # creates the collections without the short timeout
    store = await connect(f"{url}&socketTimeoutMS=500", livemode=False)
    primary, *others = members
    for member in others:
        member.kill()
    for delivery in range(2):
        with pytest.raises(StoreUnavailable):
            await store.commit(UnitOfWork(), Mark(EVENT, "plugin", datetime.now(UTC)))
        assert await asyncio.to_thread(has_mark, primary), f"delivery {delivery}"
    with pytest.raises(StoreUnavailable):
        await store.events.record_failure(EVENT, "plugin", "error", datetime.now(UTC))
    await store.close()


@pytest.mark.gen_test
async def test_delivery_is_not_accepted_while_its_effects_could_be_lost(
    members: Sequence[Mongod], sandbox: Sandbox, shop: Shop, tmp_path: Path
) -> None:
    primary, *others = members
    url = replica_set_url(members)
    async with cluster(environment_variables(url, sandbox, shop), tmp_path) as running:
        first, second = running.services
        for member in others:
            member.kill()
        one = asyncio.create_task(deliver(first))

        async def marked() -> bool:
            return await asyncio.to_thread(has_mark, primary)

        await wait_until(marked, "the first delivery does not reach the primary")
        again = [asyncio.create_task(deliver(served)) for served in (first, second)]
        assert [await task for task in (one, *again)] == [503] * 3

        # What only this primary has is lost with it. Late deliveries must not hide the loss.
        for served in running.services:
            await served.kill()
        primary.kill()
        for member in others:
            await asyncio.to_thread(member.start)
        await elect_one_of(others)
        for served in running.services:
            await served.start()
            await served.wait_until_listening()
        assert await credits(running, url) == [0]
        assert await deliver(second) == 200
        assert await deliver(first) == 200
        assert await credits(running, url) == [50, 50]

        # When it comes back, its own writes are rolled back.
        await asyncio.to_thread(primary.start)
        admin(primary, "ping")
        await asyncio.to_thread(wait_for_primary, members)
        assert await credits(running, url) == [50, 50]
        report.count("durability", deliveries=5, kills=5, lost=0)
