"""Calls of a transaction in one thread, with Motor."""

import asyncio
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from pymongo.errors import PyMongoError
from tornado.ioloop import IOLoop

from datalayer_stripe import store as stores
from datalayer_stripe.store import Store, commit
from datalayer_stripe.store.commit import Transactions, Work
from datalayer_stripe.store.driver import MAX_CONNECTIONS, run_command, start_session
from datalayer_stripe.store.group_commit import GroupCommitter
from datalayer_stripe.store.motor_clients import call_in_one_thread
from tests.store.test_store import credit, mark

pytestmark = pytest.mark.mongod


@pytest.fixture
def store(io_loop: IOLoop, mongodb_url: str) -> Iterator[Store]:
    store = io_loop.run_sync(lambda: stores.connect(mongodb_url, livemode=False, driver="motor"))
    yield store
    io_loop.run_sync(store.close)


def transactions_of(store: Store) -> Transactions:
    assert isinstance(store._committer, GroupCommitter)
    return store._committer.transactions


@pytest.mark.gen_test
async def test_bulk_writes_are_committed_with_one_change_of_threads(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    framework = store._database._framework
    run, changes = framework.run_on_executor, []

    def note(*args: Any, **options: Any) -> Any:
        changes.append(args)
        return run(*args, **options)

    transactions = transactions_of(store)
    await transactions.attempt_in_bulk(
        [Work(credit("a", "pi_1"), mark("evt_1"))]
    )  # opens a session
    monkeypatch.setattr(framework, "run_on_executor", note)
    await transactions.attempt_in_bulk([Work(credit("a", "pi_2"), mark("evt_2"))])
    assert len(changes) == 1
    [account] = await store._database.accounts.find().to_list(None)
    assert account["credits"] == 100


@pytest.mark.gen_test
async def test_cancelled_caller_waits_until_the_thread_no_longer_uses_the_session(
    store: Store,
) -> None:
    started, go_on = threading.Event(), threading.Event()

    async def write(database: Any, mongo_session: Any) -> None:
        started.set()
        go_on.wait(timeout=60)
        await run_command(database, {"insert": "things", "documents": [{"_id": 1}]}, mongo_session)

    async with await start_session(store._client) as session:
        task = asyncio.create_task(call_in_one_thread(write, store._database, session))
        await asyncio.to_thread(started.wait, 60)
        for _ in range(2):
            task.cancel()
            for _ in range(5):
                await asyncio.sleep(0)
            assert not task.done()
        go_on.set()
        await asyncio.wait([task], timeout=60)
    assert task.cancelled()
    assert await store._database.things.count_documents({}) == 1


@pytest.mark.gen_test
async def test_calls_that_wait_for_the_event_loop_are_refused(store: Store) -> None:
    ended = []

    async def write(*_: Any) -> None:
        try:
            await asyncio.sleep(0)
        finally:
            ended.append(True)

    async with await start_session(store._client) as session:
        with pytest.raises(RuntimeError, match="event loop"):
            await call_in_one_thread(write, store._database, session)
    assert ended == [True]


@pytest.mark.gen_test
async def test_time_limit_includes_the_wait_for_a_thread(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(commit, "CALL_SECONDS", 0.2)
    framework, go_on = store._database._framework, threading.Event()
    loop = asyncio.get_running_loop()
    transactions = transactions_of(store)
    [session] = transactions._idle_sessions or [await start_session(store._client)]
    transactions._idle_sessions[:] = [session]
    busy = [framework.run_on_executor(loop, go_on.wait, 60) for _ in range(MAX_CONNECTIONS)]
    attempt = transactions.attempt_in_bulk([Work(credit("a", "pi_1"), mark("evt_1"))])
    task = asyncio.create_task(attempt)
    await asyncio.wait([task], timeout=0.3)  # longer than the limit
    go_on.set()
    with pytest.raises(PyMongoError) as raised:
        await task
    assert raised.value.timeout
    await asyncio.gather(*busy)
    assert await store._database.ledger.count_documents({}) == 0
