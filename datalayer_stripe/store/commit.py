"""Commit a unit of work: all of it, once, durably; or nothing.

On a replica set this is one transaction with majority write concern. On `memory://` the writes
are applied one after the other, under a lock, with the mark last.

docs.mongodb.com/manual/core/transactions
"""

import asyncio
import random
import time
from typing import Any, Protocol

from pymongo import WriteConcern
from pymongo.errors import DuplicateKeyError, OperationFailure, PyMongoError
from pymongo.read_concern import ReadConcern

from ..errors import CommitRefused, ExpectationFailed, StoreUnavailable
from .events import AlreadyDone, Mark
from .unit import CommitReceipt, UnitOfWork

# A process that was killed inside a transaction leaves it open on the server for up to a minute,
# in the way of ours. Past this bound the delivery is answered 503, and Stripe tries again.
COMMIT_SECONDS = 5.0

_TRANSIENT = "TransientTransactionError"
_UNKNOWN = "UnknownTransactionCommitResult"


class Committer(Protocol):
    async def commit(self, unit: UnitOfWork, mark: Mark) -> CommitReceipt:
        """Apply the unit and set its mark, as one.

        Raises AlreadyDone when the mark is set already, ExpectationFailed when a write did not
        find what it expected, CommitRefused when the database refuses a write for good, and
        StoreUnavailable when it cannot be reached or is too busy. Nothing is kept then.
        """


class TransactionCommitter:
    """Commits in transactions. The mark comes first: a duplicate then costs one write."""

    def __init__(self, client: Any, database: Any) -> None:
        self._client = client
        self._database = database

    async def commit(self, unit: UnitOfWork, mark: Mark) -> CommitReceipt:
        deadline = time.monotonic() + COMMIT_SECONDS
        pause = 0.002
        while True:
            try:
                return await self._attempt(unit, mark)
            except (AlreadyDone, ExpectationFailed):
                raise
            except DuplicateKeyError as error:
                raise ExpectationFailed("an inserted _id is taken") from error
            except PyMongoError as error:
                if not error.has_error_label(_TRANSIENT):
                    raise _as_ours(error) from error
                if time.monotonic() + pause > deadline:
                    raise StoreUnavailable from error
            # Jitter, or two deliveries that conflict once conflict again and again.
            await asyncio.sleep(pause * random.uniform(0.5, 1.5))  # noqa: S311 (no secret)
            pause = min(pause * 2, 0.1)

    async def _attempt(self, unit: UnitOfWork, mark: Mark) -> CommitReceipt:
        receipt = CommitReceipt()
        async with await self._client.start_session() as mongo_session:
            mongo_session.start_transaction(
                read_concern=ReadConcern("snapshot"), write_concern=WriteConcern("majority")
            )
            try:
                await mark.apply(self._database, mongo_session, receipt)
                await unit.apply(self._database, mongo_session, receipt)
            except BaseException:
                await mongo_session.abort_transaction()
                raise
            await self._finish(mongo_session)
        return receipt

    async def _finish(self, mongo_session: Any) -> None:
        """Commit. Where the outcome is unknown, committing again is safe and tells it."""
        try:
            await mongo_session.commit_transaction()
        except PyMongoError as error:
            if not error.has_error_label(_UNKNOWN):
                raise
            await mongo_session.commit_transaction()


class MemoryCommitter:
    """Applies the writes in turn: for the demo and unit tests, no claim about atomicity."""

    def __init__(self, database: Any) -> None:
        self._database = database
        self._lock = asyncio.Lock()

    async def commit(self, unit: UnitOfWork, mark: Mark) -> CommitReceipt:
        receipt = CommitReceipt()
        async with self._lock:
            await mark.check(self._database)
            try:
                await unit.apply(self._database, None, receipt)
            except DuplicateKeyError as error:
                raise ExpectationFailed("an inserted _id is taken") from error
            except PyMongoError as error:
                raise _as_ours(error) from error
            await mark.apply(self._database, None, receipt)
        return receipt


def _as_ours(error: PyMongoError) -> CommitRefused | StoreUnavailable:
    refused = isinstance(error, OperationFailure) and not error.timeout
    return CommitRefused(type(error).__name__) if refused else StoreUnavailable()
