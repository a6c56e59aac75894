"""A unit of work: the writes that a plugin has decided on, and that the store commits as one.

Recording is not writing. A unit can be thrown away, or made again by running the plugin again.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import filterfalse
from typing import Any, Protocol

from ..errors import ExpectationFailed

Document = Mapping[str, Any]


@dataclass
class CommitReceipt:
    """What a commit did: the credits that moved, and what had been done before."""

    credits_added: int = 0
    credits_taken_back: int = 0
    already_credited: list[str] = field(default_factory=list)


class Operation(Protocol):
    """One recorded write. It is applied again when the transaction is."""

    async def apply(self, database: Any, mongo_session: Any, receipt: CommitReceipt) -> None: ...


@dataclass
class UnitOfWork:
    """Recorded writes, in order; those to plugins' own collections before the others."""

    operations: list[Operation] = field(default_factory=list)

    def record(self, operation: Operation) -> None:
        self.operations.append(operation)

    @property
    def has_foreign_writes(self) -> bool:
        """Whether any writes to a plugin's own collection, by a filter that no index may serve."""
        return any(map(_is_foreign, self.operations))

    async def apply(self, database: Any, mongo_session: Any, receipt: CommitReceipt) -> None:
        """Apply all writes."""
        await self.apply_foreign(database, mongo_session, receipt)
        await self.apply_own(database, mongo_session, receipt)

    async def apply_foreign(
        self, database: Any, mongo_session: Any, receipt: CommitReceipt
    ) -> None:
        """Apply the writes to plugins' own collections."""
        for operation in filter(_is_foreign, self.operations):
            await operation.apply(database, mongo_session, receipt)

    async def apply_own(self, database: Any, mongo_session: Any, receipt: CommitReceipt) -> None:
        """Apply the other writes, to what the service itself keeps."""
        for operation in filterfalse(_is_foreign, self.operations):
            await operation.apply(database, mongo_session, receipt)


@dataclass(frozen=True)
class InsertOne:
    """Insert; the plugin is run again when the `_id` is taken."""

    collection: str
    document: Document

    async def apply(self, database: Any, mongo_session: Any, _: CommitReceipt) -> None:
        await database[self.collection].insert_one(dict(self.document), session=mongo_session)


@dataclass(frozen=True)
class UpdateOne:
    """Update with atomic operators. With `expect`, a document must match filter and expectation."""

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
            raise ExpectationFailed(f"{self.collection}: no document is as expected")


@dataclass(frozen=True)
class DeleteOne:
    """Delete, if it is there."""

    collection: str
    filter: Document

    async def apply(self, database: Any, mongo_session: Any, _: CommitReceipt) -> None:
        await database[self.collection].delete_one(dict(self.filter), session=mongo_session)


def _is_foreign(operation: Operation) -> bool:
    return isinstance(operation, InsertOne | UpdateOne | DeleteOne)
