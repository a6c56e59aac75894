"""A database of a test's own: on `memory://`, or on a MongoDB replica set.

The one place of the kit that reaches behind the store: to look at all, and to empty it.
"""

import logging
import os
import uuid
from collections.abc import Mapping
from datetime import datetime
from typing import Any
from urllib.parse import parse_qs, urlsplit

from ..store import Store, connect
from ..store.connect import MEMORY_URL

VARIABLE = "DATALAYER_STRIPE_TESTING_MONGODB_URL"
"""The environment variable, also set by pytest's option, that puts tests on a real MongoDB."""


def default_url() -> str:
    return os.environ.get(VARIABLE) or MEMORY_URL


def with_database(url: str, name: str) -> str:
    """Return the URL with this database; whom it authenticates against stays the same."""
    parts = urlsplit(url)
    query = parts.query
    if "@" in parts.netloc and "authSource" not in parse_qs(query):
        source = parts.path.strip("/") or "admin"
        query = f"{query}&authSource={source}".lstrip("&")
    return parts._replace(path=f"/{name}", query=query).geturl()


def _is_news(record: logging.LogRecord) -> bool:
    # That memory:// forgets is what a test wants.
    return record.levelno > logging.WARNING


class Database:
    """Use :meth:`open`, and :meth:`drop` it at the end. What the URL's own database holds is safe.

    Processes of one machine share `memory://`, so that each has the one store that there is; on a
    MongoDB each has a store of its own.
    """

    def __init__(self, url: str) -> None:
        self.in_memory = url.startswith(MEMORY_URL)
        self._name = f"datalayer_stripe_test_{uuid.uuid4().hex[:16]}"
        self.url = url if self.in_memory else with_database(url, self._name)
        self._stores: list[Store] = []

    @classmethod
    async def open(cls, url: str, *, processes: int) -> "Database":
        """Connect each of so many processes. Raises StoreError, with what to do."""
        database = cls(url)
        connecting = logging.getLogger(connect.__module__)
        connecting.addFilter(_is_news)
        try:
            for _ in range(1 if database.in_memory else processes):
                database._stores.append(await connect(database.url, livemode=False, expiring=False))
        finally:
            connecting.removeFilter(_is_news)
        return database

    def store(self, process: int) -> Store:
        """The store of a process, by its number."""
        return self._stores[process % len(self._stores)]

    async def documents(
        self, collection: str, query: Mapping[str, Any] | None = None
    ) -> list[dict[str, Any]]:
        """All documents of a collection that match, by `_id`."""
        found = await self._raw[collection].find(dict(query or {})).to_list(None)
        return sorted(found, key=lambda row: str(row["_id"]))

    async def free_jobs(self, now: datetime) -> None:
        """Let all deferred work be due, also what a process has that has died."""
        await self._raw.jobs.update_many({}, {"$set": {"due_at": now, "until": now}})

    async def empty(self) -> None:
        """Forget everything but the mode."""
        for name in await self._raw.list_collection_names():
            if name != "service":
                await self._raw[name].delete_many({})

    async def drop(self) -> None:
        """Drop the database, and close its connections."""
        await self._stores[0]._client.drop_database(self._raw.name)
        for store in self._stores:
            await store.close()

    @property
    def _raw(self) -> Any:
        return self._stores[0]._database
