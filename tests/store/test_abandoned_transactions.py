"""The end of transactions of a database that did not answer."""

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest
from pymongo.errors import InvalidOperation, NetworkTimeout

from datalayer_stripe.store.abandoned_transactions import AbandonedTransactions


@pytest.mark.gen_test
async def test_closed_client_is_not_asked_again() -> None:
    calls: list[Any] = []
    ended = asyncio.Event()

    async def command(*_: Any) -> Any:
        calls.append("kill")
        raise InvalidOperation("Cannot use MongoClient after close")

    async def sleep(seconds: float) -> None:
        calls.append(seconds)

    async def end_session() -> None:
        ended.set()

    client = SimpleNamespace(admin=SimpleNamespace(command=command))
    session = SimpleNamespace(session_id="s", end_session=end_session)
    AbandonedTransactions(client, sleep=sleep).end(session)
    await ended.wait()
    assert calls == ["kill", 0.5, "kill", 2.0, "kill", 5.0, "kill"]


@pytest.mark.gen_test
async def test_transaction_is_ended_again_after_the_database_answers() -> None:
    """A write that the server has not read yet may start it after it was ended."""
    answers: list[Any] = [NetworkTimeout("hangs"), NetworkTimeout("hangs"), {"ok": 1}]
    calls: list[Any] = []
    ended = asyncio.Event()

    async def command(name: str, ids: list[str]) -> Any:
        calls.append((name, ids))
        answer = answers.pop(0) if answers else {"ok": 1}
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def sleep(seconds: float) -> None:
        calls.append(seconds)

    async def end_session() -> None:
        ended.set()

    client = SimpleNamespace(admin=SimpleNamespace(command=command))
    session = SimpleNamespace(session_id="s", end_session=end_session)
    AbandonedTransactions(client, sleep=sleep).end(session)
    await ended.wait()
    kill = ("killSessions", ["s"])
    assert calls == [kill, 0.5, kill, 0.5, kill, 0.5, kill, 2.0, kill, 5.0, kill]
