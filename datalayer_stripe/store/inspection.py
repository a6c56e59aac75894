"""Look at the state of the database's server: members, indexes, disk and oplog. Nothing changes."""

from dataclasses import dataclass
from typing import Any

from pymongo.errors import OperationFailure

from .errors import translate_errors
from .indexes import declared_collections

# The part of its maximum size at which the oplog deletes entries.
_FULL_OPLOG = 0.9


@dataclass(frozen=True)
class DiskUse:
    """The file system that holds the database, in bytes."""

    total_bytes: int
    free_bytes: int

    @property
    def free_part(self) -> float:
        """The free part of the file system, between 0 and 1."""
        return self.free_bytes / self.total_bytes


@dataclass(frozen=True)
class OplogWindow:
    """How far back the oplog goes, in hours, and whether it already deletes old entries."""

    hours: float
    is_full: bool


class Inspection:
    """Reads about the server and the database. They have no meaning on `memory://`."""

    def __init__(self, client: Any, database: Any) -> None:
        self._client = client
        self._database = database

    @translate_errors
    async def data_members(self) -> int | None:
        """Return the number of members that hold data, or None for a sharded cluster."""
        hello = await self._client.admin.command("hello")
        if "setName" not in hello:
            return None
        return len(hello.get("hosts", ())) + len(hello.get("passives", ()))

    @translate_errors
    async def missing_indexes(self) -> list[str] | None:
        """Return the missing indexes as `collection.index`.

        Returns:
            None if the database has none of the collections: no service has used it yet.
        """
        declared = declared_collections()
        existing = set(await self._database.list_collection_names())
        # A check of the database may have created `service`.
        if not existing & (set(declared) - {"service"}):
            return None
        missing = []
        for name, spec in declared.items():
            found = await self._database[name].index_information() if name in existing else {}
            wanted = (index.document["name"] for index in spec.indexes)
            missing += [f"{name}.{index}" for index in wanted if index not in found]
        return missing

    @translate_errors
    async def disk(self) -> DiskUse | None:
        """Return the use of the server's disk, or None if the server does not report it."""
        stats = await self._database.command("dbStats")
        total, used = stats.get("fsTotalSize"), stats.get("fsUsedSize")
        if not total or used is None:
            return None
        return DiskUse(int(total), int(total - used))

    @translate_errors
    async def oplog(self) -> OplogWindow | None:
        """Return how far back the oplog goes, or None if the user may not read it."""
        local = self._client.local
        try:
            stats = await local.command("collStats", "oplog.rs")
            first = await local["oplog.rs"].find_one({}, {"ts": 1}, sort=[("$natural", 1)])
            last = await local["oplog.rs"].find_one({}, {"ts": 1}, sort=[("$natural", -1)])
        except OperationFailure:
            return None
        if not first or not last or not stats.get("maxSize"):
            return None
        hours = (last["ts"].time - first["ts"].time) / 3600
        return OplogWindow(hours, stats["size"] >= _FULL_OPLOG * stats["maxSize"])
