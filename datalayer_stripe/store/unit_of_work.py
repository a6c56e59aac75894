"""Unit of work: the writes that a plugin has recorded, and that the store commits atomically.

Recorded writes are not written yet. A unit can be discarded, or recorded again by running the
plugin again.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import filterfalse
from typing import Any, Protocol

from ..errors import ExpectationFailed
from .bulk_writes import BulkWrites

Document = Mapping[str, Any]


@dataclass
class CommitReceipt:
    """What a commit did: the credits that it moved, and the top-ups that were already credited."""

    credits_added: int = 0
    credits_taken_back: int = 0
    already_credited: list[str] = field(default_factory=list)


class Operation(Protocol):
    """One recorded write. It is applied again if the transaction is retried."""

    async def apply(self, database: Any, mongo_session: Any, receipt: CommitReceipt) -> None:
        """Apply the write.

        Args:
            database: The driver's database.
            mongo_session: The session of the transaction; None on `memory://`.
            receipt: Gets what the write did.
        """


class BulkOperation(ABC):
    """Base of the operations that can be written together with those of other units."""

    @abstractmethod
    def add_to(self, bulk: BulkWrites, receipt: CommitReceipt) -> None:
        """Add the write to those of a group.

        Args:
            bulk: The writes of the group.
            receipt: Gets what the write does if the group is committed.
        """


@dataclass
class UnitOfWork:
    """Recorded writes, in order. Writes to plugins' own collections are applied first."""

    operations: list[Operation] = field(default_factory=list)

    def record(self, operation: Operation) -> None:
        """Add a write."""
        self.operations.append(operation)

    @property
    def has_plugin_writes(self) -> bool:
        """Whether a write goes to a plugin's own collection. Its filter may use no index."""
        return any(map(_is_plugin_write, self.operations))

    @property
    def has_bulk_form(self) -> bool:
        """Whether all writes can be written together with those of other units."""
        return all(isinstance(operation, BulkOperation) for operation in self.operations)

    def add_to(self, bulk: BulkWrites, receipt: CommitReceipt) -> None:
        """Add all writes to those of a group, as :class:`BulkOperation`."""
        for operation in self.operations:
            assert isinstance(operation, BulkOperation)  # noqa: S101 (it has a bulk form)
            operation.add_to(bulk, receipt)

    async def apply(self, database: Any, mongo_session: Any, receipt: CommitReceipt) -> None:
        """Apply all writes."""
        await self.apply_plugin_writes(database, mongo_session, receipt)
        await self.apply_service_writes(database, mongo_session, receipt)

    async def apply_plugin_writes(
        self, database: Any, mongo_session: Any, receipt: CommitReceipt
    ) -> None:
        """Apply the writes to plugins' own collections."""
        for operation in filter(_is_plugin_write, self.operations):
            await operation.apply(database, mongo_session, receipt)

    async def apply_service_writes(
        self, database: Any, mongo_session: Any, receipt: CommitReceipt
    ) -> None:
        """Apply the writes to the service's own collections."""
        for operation in filterfalse(_is_plugin_write, self.operations):
            await operation.apply(database, mongo_session, receipt)


@dataclass(frozen=True)
class InsertOne:
    """Insert a document. If its `_id` exists, the plugin is run again."""

    collection: str
    document: Document

    async def apply(self, database: Any, mongo_session: Any, _: CommitReceipt) -> None:
        await database[self.collection].insert_one(dict(self.document), session=mongo_session)


@dataclass(frozen=True)
class UpdateOne:
    """Update a document with atomic operators.

    With `expect`, a document must match both the filter and the expectation.
    """

    collection: str
    filter: Document
    update: Document
    upsert: bool = False
    expect: Document | None = None

    async def apply(self, database: Any, mongo_session: Any, _: CommitReceipt) -> None:
        result = await database[self.collection].update_one(
            {"$and": [self.filter, self.expect]} if self.expect else self.filter,
            dict(self.update),
            upsert=self.upsert,
            session=mongo_session,
        )
        if self.expect is not None and result.matched_count == 0:
            raise ExpectationFailed(f"{self.collection}: no document matches the expectation")


@dataclass(frozen=True)
class DeleteOne:
    """Delete a document, if it exists."""

    collection: str
    filter: Document

    async def apply(self, database: Any, mongo_session: Any, _: CommitReceipt) -> None:
        await database[self.collection].delete_one(dict(self.filter), session=mongo_session)


def _is_plugin_write(operation: Operation) -> bool:
    return isinstance(operation, InsertOne | UpdateOne | DeleteOne)
