"""Who is to look at an account again, because its balance or subscription has changed.

A change that any process commits wakes those who watch that account in this one: by one change
stream for all of them, mongodb.com/docs/manual/changeStreams, or on `memory://` by looking every
so often. To be woken is a hint: what has become of the account is for the woken one to read.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from typing import Any

from pymongo.errors import PyMongoError

logger = logging.getLogger(__name__)

# While no change stream can be had, all are woken this often.
_RETRY_SECONDS = 2.0
_MEMORY_SECONDS = 0.2

# Longer than a change takes to arrive, which ends the wait; shorter than the socket's timeout.
_AWAIT_MS = 1000

# Of a subscription's document only what a snapshot has written: tickets are taken all the time.
_OF_INTEREST: list[dict[str, Any]] = [
    {"ns.coll": "accounts", "operationType": {"$in": ["insert", "update", "replace"]}},
    {"ns.coll": "subscriptions", "operationType": {"$in": ["insert", "replace"]}},
    {
        "ns.coll": "subscriptions",
        "updateDescription.updatedFields.written_ticket": {"$exists": True},
    },
]
_PIPELINE: list[dict[str, Any]] = [
    {"$match": {"$or": _OF_INTEREST}},
    {"$project": {"ns": 1, "documentKey": 1, "fullDocument.account_uid": 1}},
]


class Changes:
    """Wakes whoever watches an account. Nothing runs before somebody does."""

    def __init__(self) -> None:
        self._watchers: dict[str, set[asyncio.Event]] = {}
        self._task: asyncio.Task[None] | None = None
        self._begun = asyncio.Event()

    @asynccontextmanager
    async def watched(self, account_uid: str, wake: asyncio.Event) -> AsyncIterator[None]:
        """Set `wake` at each change of the account from now on, and now and then for nothing."""
        watchers = self._watchers.setdefault(account_uid, set())
        watchers.add(wake)
        try:
            if self._task is None:
                self._task = asyncio.create_task(self._watch())
            # What changed before that is seen by who reads after it.
            await self._begun.wait()
            yield
        finally:
            watchers.discard(wake)
            if not watchers and self._watchers.get(account_uid) is watchers:
                del self._watchers[account_uid]

    async def close(self) -> None:
        """Stop watching."""
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task

    async def _watch(self) -> None:
        self._begun.set()
        while True:
            await asyncio.sleep(_MEMORY_SECONDS)
            self._wake_all()

    def _wake(self, account_uid: str) -> None:
        for wake in self._watchers.get(account_uid, ()):
            wake.set()

    def _wake_all(self) -> None:
        for account_uid in self._watchers:
            self._wake(account_uid)


class StreamedChanges(Changes):
    """By a change stream of Motor's, whose `watch` PyMongo's own client wants to have awaited."""

    def __init__(self, client: Any, database: Any) -> None:
        super().__init__()
        self._client = client
        self._database = database

    async def _watch(self) -> None:
        while True:
            try:
                await self._follow()
            # Whatever it is: while this task is gone, nobody hears of anything.
            except Exception as error:
                known = isinstance(error, PyMongoError)
                extra = {"error": type(error).__name__}
                logger.warning("no change stream", extra=extra, exc_info=None if known else error)
                self._begun.set()
                await asyncio.sleep(_RETRY_SECONDS)
                self._wake_all()

    async def _follow(self) -> None:
        # The stream begins at this moment, however long it takes to open.
        now = (await self._client.admin.command("ping"))["operationTime"]
        self._begun.set()
        self._wake_all()  # what changed while there was no stream
        stream = self._database.watch(
            _PIPELINE,
            full_document="updateLookup",
            start_at_operation_time=now,
            max_await_time_ms=_AWAIT_MS,
        )
        async with stream:
            async for change in stream:
                for account_uid in _accounts_of(change):
                    self._wake(account_uid)


def _accounts_of(change: dict[str, Any]) -> Iterator[str]:
    if change["ns"]["coll"] == "accounts":
        yield change["documentKey"]["_id"]
    elif account_uid := (change.get("fullDocument") or {}).get("account_uid"):
        yield account_uid
