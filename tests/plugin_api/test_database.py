"""Plugins' MongoDB calls have their own limits and connections, and do not delay credits."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import pytest

from datalayer_stripe.errors import AlreadyDone, PluginFault
from datalayer_stripe.events import Event
from datalayer_stripe.service import Service
from datalayer_stripe.store import UnitOfWork, commit
from datalayer_stripe.store import store as store_module
from datalayer_stripe.store.driver import MAX_CONNECTIONS
from datalayer_stripe.store.marks import Mark
from datalayer_stripe.store.plugin_reads import MAX_PLUGIN_READS
from datalayer_stripe.store.unit_of_work import InsertOne, UpdateOne
from tests.store.test_store import EVENT, NOW, credit
from tests.support.app import Api, json_of, recorded

# Some of what these tests start goes on after them for a while, so each has a database of its own.
pytestmark = [pytest.mark.mongod, pytest.mark.usefixtures("mongodb_url")]

PAID = recorded("payment_intent.succeeded")

# A query that takes this many milliseconds per document. Tests end it earlier, with killOp.
FOREVER = {"$where": "sleep(60000) || true"}


def mark(plugin_name: str, event_id: str) -> Mark:
    event: Event = EVENT.model_copy(update={"id": event_id})
    return Mark(event, plugin_name, NOW)


class Operations:
    """The operations on the collections of plugins that run on the server."""

    def __init__(self, service: Service) -> None:
        self._admin = service.store._client.admin
        self._namespace = f"{service.store._database.name}.plugin_"

    async def running(self, plugin_name: str) -> list[Any]:
        current = {"currentOp": 1, "ns": self._namespace + plugin_name, "active": True}
        return [one["opid"] for one in (await self._admin.command(current))["inprog"]]

    async def wait_for(self, plugin_name: str, number: int) -> list[Any]:
        """Wait until at least `number` operations on the plugin's collection run; return their ids.

        The server does not list an operation while it yields, so one look at it may miss some.
        """
        async with asyncio.timeout(120):
            while len(found := await self.running(plugin_name)) < number:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        return found

    async def wait_until_none(self, plugin_name: str) -> None:
        """Wait until no operation on the plugin's collection runs."""
        async with asyncio.timeout(120):
            while await self.running(plugin_name):  # noqa: ASYNC110 (the server's)
                await asyncio.sleep(0.01)

    async def kill(self, plugin_name: str) -> None:
        for opid in await self.running(plugin_name):
            await self._admin.command({"killOp": 1, "op": opid})


@pytest.fixture
def unhurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """Raise the time limits of plugins' operations above the length of a test."""
    monkeypatch.setattr(store_module, "PLUGIN_READ_SECONDS", 60.0)
    monkeypatch.setattr(commit, "PLUGIN_WRITE_SECONDS", 60.0)
    monkeypatch.setattr("datalayer_stripe.store.errors.CALL_SECONDS", 60.0)


@asynccontextmanager
async def slow_reads(service: Service, plugin_name: str, number: int) -> AsyncIterator[list[Any]]:
    """Run this many concurrent reads of a plugin, which do not end by themselves."""
    collection = f"plugin_{plugin_name}"
    await service.store._database[collection].insert_one({"_id": 1})
    reads = [
        asyncio.create_task(service.store.find_one(collection, FOREVER)) for _ in range(number)
    ]
    operations = Operations(service)
    try:
        await operations.wait_for(plugin_name, min(number, MAX_PLUGIN_READS))
        yield reads
    finally:
        for read in reads:
            read.cancel()
        await asyncio.gather(*reads, return_exceptions=True)
        await operations.kill(plugin_name)


@pytest.mark.gen_test
async def test_slow_reads_of_a_plugin_do_not_delay_credits_or_readiness(
    api: Api, service: Service, unhurried: None
) -> None:
    # They use all connections of a client.
    plugins = MAX_CONNECTIONS // MAX_PLUGIN_READS
    async with AsyncExitStack() as hanging:
        reads = [
            read
            for number in range(plugins)
            for read in await hanging.enter_async_context(
                slow_reads(service, f"slow-{number}", MAX_PLUGIN_READS)
            )
        ]
        assert json_of(await api.deliver(PAID))["outcome"] == "processed"
        assert await api.credits() == 50
        assert (await api.get("/readyz", account=None)).code == 200
        assert not any(read.done() for read in reads)


@pytest.mark.gen_test
async def test_slow_reads_of_one_plugin_leave_room_for_another(
    service: Service, unhurried: None
) -> None:
    async with slow_reads(service, "slow", MAX_CONNECTIONS + 4) as reads:
        assert await service.store.find_one("plugin_quick", {"_id": 1}) is None
        operations = Operations(service)
        # The server does not list an operation while it yields.
        await operations.wait_for("slow", MAX_PLUGIN_READS)
        assert len(await operations.running("slow")) <= MAX_PLUGIN_READS
        assert not any(read.done() for read in reads)


@pytest.mark.gen_test
async def test_abandoned_read_occupies_its_slot_until_it_ends(
    service: Service, unhurried: None
) -> None:
    operations = Operations(service)
    async with slow_reads(service, "slow", MAX_PLUGIN_READS) as reads:
        for read in reads:
            read.cancel()
        await asyncio.gather(*reads, return_exceptions=True)
        another = asyncio.create_task(service.store.find_one("plugin_slow", {"_id": 1}))
        await asyncio.wait({another}, timeout=0.1)
        assert not another.done()
        await operations.kill("slow")
        assert await another == {"_id": 1}


@pytest.mark.gen_test
async def test_server_ends_a_slow_read(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store_module, "PLUGIN_READ_SECONDS", 0.5)
    await service.store._database.plugin_slow.insert_one({"_id": 1})
    with pytest.raises(PluginFault, match=r"a read of plugin_slow took longer than 0\.5 s"):
        await service.store.find_one("plugin_slow", FOREVER)
    await Operations(service).wait_until_none("slow")


@pytest.mark.gen_test
async def test_server_ends_a_slow_write_and_nothing_is_committed(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(commit, "PLUGIN_WRITE_SECONDS", 0.5)
    await service.store._database.plugin_slow.insert_one({"_id": 1})
    slow = UpdateOne("plugin_slow", FOREVER, {"$set": {"seen": True}})
    with pytest.raises(PluginFault, match=r"its writes took longer than 0\.5 s"):
        await service.store.commit(UnitOfWork([slow]), mark("slow", "evt_slow"))
    await Operations(service).wait_until_none("slow")
    assert await service.store.events.get("evt_slow") is None


@pytest.mark.parametrize("event_id", ["evt_slow", "evt_quick"])
@pytest.mark.gen_test
async def test_slow_writes_of_one_plugin_do_not_delay_others(
    service: Service, unhurried: None, event_id: str
) -> None:
    """Check plugins of another event and of the same event, and the credits of the account."""
    store, operations = service.store, Operations(service)
    await store._database.plugin_slow.insert_one({"_id": 1})
    slow = UpdateOne("plugin_slow", FOREVER, {"$set": {"seen": True}})
    quick = UpdateOne("plugin_quick", {"_id": 1}, {"$set": {"seen": True}}, upsert=True)
    both = UnitOfWork([*credit("a", "pi_slow").operations, slow])
    writing = asyncio.create_task(store.commit(both, mark("slow", "evt_slow")))
    try:
        before = await operations.wait_for("slow", 1)
        await store.commit(UnitOfWork([quick]), mark("quick", event_id))
        assert await store.find_one("plugin_quick", {"_id": 1}) == {"_id": 1, "seen": True}
        await store.commit(credit("a", "pi_1"), mark("money", event_id))
        assert (await store.accounts.get("a")).credits == 50
        assert await operations.wait_for("slow", 1) == before, "it was repeated"
    finally:
        while not writing.done():
            await operations.kill("slow")
            await asyncio.wait({writing}, timeout=0.1)
        writing.exception()


@pytest.mark.gen_test
async def test_unit_of_work_that_is_marked_done_is_not_applied_again(service: Service) -> None:
    unit = UnitOfWork([InsertOne("plugin_one", {"_id": "once"})])
    await service.store.commit(unit, mark("one", "evt_1"))
    # Not ExpectationFailed, after which the plugin would run again.
    with pytest.raises(AlreadyDone):
        await service.store.commit(unit, mark("one", "evt_1"))
