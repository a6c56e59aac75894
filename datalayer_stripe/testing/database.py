"""Create a database for one test: in memory, or on a MongoDB replica set.

This is the only module of the test kit that uses the driver behind the store: it reads and empties
whole collections.
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
"""The environment variable, also set by pytest's option, that runs tests on a real MongoDB."""


def default_url() -> str:
    """Return the URL of the environment variable, or `memory://`."""
    return os.environ.get(VARIABLE) or MEMORY_URL


def with_database(url: str, name: str) -> str:
    """Return the URL with this database. The database that authenticates stays the same."""
    parts = urlsplit(url)
    query = parts.query
    if "@" in parts.netloc and "authSource" not in parse_qs(query):
        source = parts.path.strip("/") or "admin"
        query = f"{query}&authSource={source}".lstrip("&")
    return parts._replace(path=f"/{name}", query=query).geturl()


def _is_above_warning(record: logging.LogRecord) -> bool:
    # The warning says that memory:// is lost at the end, which a test wants.
    return record.levelno > logging.WARNING


class Database:
    """A database with a new name. Use :meth:`open`, and :meth:`drop` it at the end.

    The database that the URL names is not touched. Processes share one store on `memory://`; on a
    MongoDB each has its own.
    """

    def __init__(self, url: str) -> None:
        self.in_memory = url.startswith(MEMORY_URL)
        self._name = f"datalayer_stripe_test_{uuid.uuid4().hex[:16]}"
        self.url = url if self.in_memory else with_database(url, self._name)
        self._stores: list[Store] = []

    @classmethod
    async def open(cls, url: str, *, processes: int) -> "Database":
        """Create a database, and connect to it.

        Args:
            url: The MongoDB to create it on, or `memory://`.
            processes: The number of processes that need a store.

        Raises:
            StoreError: The database cannot be used. The message says what to do.
        """
        database = cls(url)
        logger = logging.getLogger(connect.__module__)
        logger.addFilter(_is_above_warning)
        try:
            for _ in range(1 if database.in_memory else processes):
                database._stores.append(await connect(database.url, livemode=False, expiring=False))
        finally:
            logger.removeFilter(_is_above_warning)
        return database

    def store(self, process: int) -> Store:
        """Return the store of a process, by its number."""
        return self._stores[process % len(self._stores)]

    async def documents(
        self, collection: str, query: Mapping[str, Any] | None = None
    ) -> list[dict[str, Any]]:
        """Return all documents of a collection that match a query, in the order of their `_id`."""
        found = await self._raw[collection].find(dict(query or {})).to_list(None)
        return sorted(found, key=lambda row: str(row["_id"]))

    async def make_jobs_due(self, now: datetime) -> None:
        """Make all deferred jobs due, and end the leases of crashed processes."""
        await self._raw.jobs.update_many({}, {"$set": {"due_at": now, "until": now}})

    async def empty(self) -> None:
        """Delete everything except the record of the mode, live or test."""
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
