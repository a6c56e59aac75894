"""Commit units of work: all of one, once, durably; or nothing of it.

On a replica set this is a transaction with majority write concern. On `memory://` the writes
are applied one after the other, under a lock, with the mark last.

docs.mongodb.com/manual/core/transactions
"""

import asyncio
import random
import time
import uuid
from collections.abc import Awaitable, Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

import pymongo
from pymongo import WriteConcern
from pymongo.errors import (
    DuplicateKeyError,
    OperationFailure,
    PyMongoError,
)
from pymongo.read_concern import ReadConcern

from ..errors import AlreadyDone, CommitRefused, ExpectationFailed, PluginFault, StoreUnavailable
from .errors import ENCODING_ERRORS, translated
from .events import Mark
from .unit_of_work import CommitReceipt, UnitOfWork

# A process that was killed inside a transaction leaves it open on the server for up to a minute,
# in the way of ours. Past this bound the delivery is answered 503, and Stripe tries again.
COMMIT_SECONDS = 5.0

# For the writes of one transaction where plugins write to their own collections, whose filters no
# index may serve. The server ends what takes longer.
PLUGIN_WRITE_SECONDS = 5.0

_INITIAL_BACKOFF = 0.002
_MAX_BACKOFF = 0.1

_TRANSIENT = "TransientTransactionError"
_UNKNOWN = "UnknownTransactionCommitResult"


@dataclass(frozen=True)
class Unmarked:
    """Takes the place of a mark for writes that find out themselves whether they were done."""

    key: tuple[str, ...] = field(default_factory=lambda: (uuid.uuid4().hex,))
    plugin_name = ""

    async def apply(self, database: Any, mongo_session: Any) -> None:
        """Write nothing."""

    async def check(self, database: Any, **options: Any) -> None:
        """Raise nothing."""


class Work(NamedTuple):
    """A plugin's writes, and the mark that says that they are done."""

    unit: UnitOfWork
    mark: Mark | Unmarked


class Committer(Protocol):
    async def commit(self, work: Work) -> CommitReceipt:
        """Apply the unit and set its mark, as one.

        Raises AlreadyDone when the mark is set already, ExpectationFailed when a write did not
        find what it expected, CommitRefused when the database refuses a write for good,
        PluginFault when a plugin's writes to its own collection take too long, and
        StoreUnavailable when it cannot be reached or is too busy. Nothing is kept then.
        """


class Transactions:
    """Commits in transactions. Of what is ours the mark comes first: a duplicate is one write.

    `monotonic` returns seconds; `sleep` waits for as many.
    """

    def __init__(
        self,
        client: Any,
        database: Any,
        *,
        monotonic: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._client = client
        self._database = database
        self._monotonic = monotonic
        self._sleep = sleep

    async def commit(self, work: Work) -> CommitReceipt:
        """See :class:`Committer`. What is in the way is waited for, up to COMMIT_SECONDS."""
        deadline = self._monotonic() + COMMIT_SECONDS
        pause = _INITIAL_BACKOFF
        while True:
            try:
                return (await self.attempt([work]))[0]
            except AlreadyDone:
                await self._check_durable(work.mark)
                if self._monotonic() + pause > deadline:
                    raise StoreUnavailable from None
            except DuplicateKeyError as error:
                raise ExpectationFailed("an inserted _id is taken") from error
            except ENCODING_ERRORS as error:
                raise _refused(error) from error
            except PyMongoError as error:
                if error.timeout and work.unit.has_foreign_writes:
                    seconds = f"{PLUGIN_WRITE_SECONDS:g} s"
                    raise PluginFault(f"its writes took longer than {seconds}") from error
                if not error.has_error_label(_TRANSIENT):
                    raise _as_ours(error) from error
                if self._monotonic() + pause > deadline:
                    raise StoreUnavailable from error
            # Jitter, or two deliveries that conflict once conflict again and again.
            await self._sleep(pause * random.uniform(0.5, 1.5))  # noqa: S311 (no secret)
            pause = min(pause * 2, _MAX_BACKOFF)

    async def attempt(self, works: Sequence[Work]) -> list[CommitReceipt]:
        """Commit all of these in one transaction, or none, without a second try."""
        receipts = [CommitReceipt() for _ in works]
        async with await self._client.start_session() as mongo_session:
            mongo_session.start_transaction(
                read_concern=ReadConcern("snapshot"), write_concern=WriteConcern("majority")
            )
            try:
                await self._apply(works, receipts, mongo_session)
            except BaseException:
                await mongo_session.abort_transaction()
                raise
            await _finish(mongo_session)
        return receipts

    async def _apply(
        self, works: Sequence[Work], receipts: Sequence[CommitReceipt], mongo_session: Any
    ) -> None:
        """Apply the writes to plugins' own collections, and then the marks with what is ours.

        A transaction holds what it has written until its end, and the former may be slow. So the
        events and accounts are written last: others write to them, too.
        """
        foreign = [
            pair for pair in zip(works, receipts, strict=True) if pair[0].unit.has_foreign_writes
        ]
        with pymongo.timeout(PLUGIN_WRITE_SECONDS) if foreign else nullcontext():
            for work, receipt in foreign:
                await work.mark.check(self._database, session=mongo_session)
                await work.unit.apply_foreign(self._database, mongo_session, receipt)
        for work, receipt in zip(works, receipts, strict=True):
            await work.mark.apply(self._database, mongo_session)
            await work.unit.apply_own(self._database, mongo_session, receipt)

    @translated
    async def _check_durable(self, mark: Mark | Unmarked) -> None:
        """Raise AlreadyDone once the mark that was met is durable; return if it is gone.

        Met on the primary alone, it may be lost with it, and "done" would be a lie to Stripe:
        mongodb.com/docs/manual/reference/read-concern-linearizable.
        """
        database = self._database.with_options(read_concern=ReadConcern("linearizable"))
        await mark.check(database, max_time_ms=int(COMMIT_SECONDS * 1000))


class MemoryCommitter:
    """Applies the writes in turn: for the demo and unit tests, no claim about atomicity."""

    def __init__(self, database: Any) -> None:
        self._database = database
        self._lock = asyncio.Lock()

    async def commit(self, work: Work) -> CommitReceipt:
        receipt = CommitReceipt()
        async with self._lock:
            await work.mark.check(self._database)
            try:
                await work.unit.apply(self._database, None, receipt)
            except DuplicateKeyError as error:
                raise ExpectationFailed("an inserted _id is taken") from error
            except ENCODING_ERRORS as error:
                raise _refused(error) from error
            except PyMongoError as error:
                raise _as_ours(error) from error
            await work.mark.apply(self._database, None)
        return receipt


async def _finish(mongo_session: Any) -> None:
    """Commit. Where the outcome is unknown, committing again is safe and tells it."""
    try:
        await mongo_session.commit_transaction()
    except PyMongoError as error:
        if not error.has_error_label(_UNKNOWN):
            raise
        await mongo_session.commit_transaction()


def _as_ours(error: PyMongoError) -> CommitRefused | StoreUnavailable:
    refused = isinstance(error, OperationFailure) and not error.timeout
    return _refused(error) if refused else StoreUnavailable()


def _refused(error: Exception) -> CommitRefused:
    return CommitRefused(type(error).__name__)
