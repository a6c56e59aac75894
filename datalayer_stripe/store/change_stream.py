"""Notify watchers of an account when its balance or subscription changes.

One change stream per process (https://www.mongodb.com/docs/manual/changeStreams/) reports what any
process commits. On `memory://` all watchers are notified periodically. A notification is a hint:
the watcher reads the current state of the account.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

from pymongo.errors import PyMongoError

from ..tasks import cancel_and_wait
from .driver import watch

logger = logging.getLogger(__name__)

# Interval at which all watchers are notified while there is no change stream.
_RETRY_SECONDS = 2.0
# The same on `memory://`, which never has one.
_MEMORY_SECONDS = 0.2

# The server returns earlier if there is a change. It must be shorter than the socket timeout.
_AWAIT_MS = 1000

# Of a subscription's document only written snapshots count, because tickets are taken frequently.
_WATCHED_CHANGES: list[dict[str, Any]] = [
    {"ns.coll": "accounts", "operationType": {"$in": ["insert", "update", "replace"]}},
    {"ns.coll": "subscriptions", "operationType": {"$in": ["insert", "replace"]}},
    {
        "ns.coll": "subscriptions",
        "updateDescription.updatedFields.written_ticket": {"$exists": True},
    },
]
_PIPELINE: list[dict[str, Any]] = [
    {"$match": {"$or": _WATCHED_CHANGES}},
    {"$project": {"ns": 1, "documentKey": 1, "fullDocument.account_uid": 1}},
]


class Changes:
    """Notifies the watchers of accounts, periodically. It starts with the first watcher."""

    def __init__(self) -> None:
        self._watchers: dict[str, set[asyncio.Event]] = {}
        self._task: asyncio.Task[None] | None = None
        self._started = asyncio.Event()

    @asynccontextmanager
    async def watch(self, account_uid: str, notify: asyncio.Event) -> AsyncIterator[None]:
        """Set an event at each change of an account, inside the `async with` block.

        The event may also be set without a change.

        Args:
            account_uid: The account.
            notify: The event.
        """
        watchers = self._watchers.setdefault(account_uid, set())
        watchers.add(notify)
        try:
            if self._task is None:
                self._task = asyncio.create_task(self._run())
            # A watcher that reads the state after this sees all earlier changes.
            await self._started.wait()
            yield
        finally:
            watchers.discard(notify)
            if not watchers and self._watchers.get(account_uid) is watchers:
                del self._watchers[account_uid]

    async def close(self) -> None:
        """Stop watching."""
        if self._task is not None:
            await cancel_and_wait(self._task)

    async def _run(self) -> None:
        self._started.set()
        while True:
            await asyncio.sleep(_MEMORY_SECONDS)
            self._notify_all()

    def _notify(self, account_uid: str) -> None:
        for event in self._watchers.get(account_uid, ()):
            event.set()

    def _notify_all(self) -> None:
        for account_uid in self._watchers:
            self._notify(account_uid)


class StreamedChanges(Changes):
    """Notifies the watchers of accounts by a change stream.

    Args:
        client: The driver's client.
        database: The database to watch.
    """

    def __init__(self, client: Any, database: Any) -> None:
        super().__init__()
        self._client = client
        self._database = database

    async def _run(self) -> None:
        while True:
            try:
                await self._follow()
            # Any error: without this task, no watcher would be notified.
            except Exception as error:
                known = isinstance(error, PyMongoError)
                extra = {"error": type(error).__name__}
                logger.warning("no change stream", extra=extra, exc_info=None if known else error)
                self._started.set()
                await asyncio.sleep(_RETRY_SECONDS)
                self._notify_all()

    async def _follow(self) -> None:
        # The stream starts at this time, even if opening it takes long.
        now = (await self._client.admin.command("ping"))["operationTime"]
        self._started.set()
        self._notify_all()  # Changes may have happened without a stream.
        stream = await watch(
            self._database,
            _PIPELINE,
            full_document="updateLookup",
            start_at_operation_time=now,
            max_await_time_ms=_AWAIT_MS,
        )
        async with stream:
            async for change in stream:
                for account_uid in _accounts_of(change):
                    self._notify(account_uid)


def _accounts_of(change: dict[str, Any]) -> Iterator[str]:
    if change["ns"]["coll"] == "accounts":
        yield change["documentKey"]["_id"]
    elif account_uid := (change.get("fullDocument") or {}).get("account_uid"):
        yield account_uid
