"""Commit a unit of work once and durably, or nothing of it.

On a replica set a commit is a transaction with majority write concern. On `memory://` the writes
are applied one after the other under a lock, with the mark last.

https://www.mongodb.com/docs/manual/core/transactions/
"""

import asyncio
import random
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, nullcontext
from dataclasses import dataclass, field
from functools import partial
from typing import Any, ClassVar, NamedTuple, Protocol

import pymongo
from pymongo.errors import (
    DuplicateKeyError,
    OperationFailure,
    PyMongoError,
)
from pymongo.read_concern import ReadConcern

from ..errors import AlreadyDone, CommitRefused, ExpectationFailed, PluginFault, StoreUnavailable
from .abandoned_transactions import AbandonedTransactions
from .bulk_writes import BulkWrites
from .driver import MakeCalls, call_directly, start_session
from .errors import CALL_SECONDS, ENCODING_ERRORS, translate_errors
from .marks import Mark
from .transaction import transact
from .unit_of_work import CommitReceipt, Document, UnitOfWork

# A process that was killed inside a transaction leaves it open on the server for up to a minute,
# and it blocks others. After this time the delivery is answered 503, and Stripe retries.
COMMIT_SECONDS = 5.0

# Limits the writes to plugins' own collections in one transaction, whose filters may use no index.
# The server aborts operations that take longer.
PLUGIN_WRITE_SECONDS = 5.0

_INITIAL_BACKOFF = 0.002
_MAX_BACKOFF = 0.1

# More are needed only while units that have failed are retried.
_MAX_IDLE_SESSIONS = 4

_TRANSIENT = "TransientTransactionError"


@dataclass(frozen=True)
class NoMark:
    """Replaces the mark of writes that check themselves whether they were already done."""

    has_bulk_form: ClassVar[bool] = False

    key: tuple[str, ...] = field(default_factory=lambda: (uuid.uuid4().hex,))
    plugin_name = ""

    async def apply(self, database: Any, mongo_session: Any) -> None:
        """Write nothing."""

    def add_to(self, bulk: BulkWrites) -> None:
        """Write nothing."""

    async def check(self, database: Any, **options: Any) -> None:
        """Raise nothing."""

    def is_set(self, document: Document | None) -> bool:  # noqa: ARG002 (as Mark)
        """Return False."""
        return False


class Work(NamedTuple):
    """A plugin's writes, and the mark that records that they are done."""

    unit: UnitOfWork
    mark: Mark | NoMark

    @property
    def has_bulk_form(self) -> bool:
        """Whether it can be written together with other units."""
        return self.mark.has_bulk_form and self.unit.has_bulk_form


class Committer(Protocol):
    """Commits units of work."""

    async def commit(self, work: Work) -> CommitReceipt:
        """Apply the writes and set the mark, atomically.

        Args:
            work: The writes and their mark.

        Returns:
            What the commit did.

        Raises:
            AlreadyDone: The mark is already set.
            ExpectationFailed: A write did not find the document that it expected.
            CommitRefused: The database refuses a write. A retry would fail, too.
            PluginFault: A plugin's writes to its own collection take too long.
            StoreUnavailable: The database does not answer or is too busy.
        """

    async def close(self) -> None:
        """Wait a moment for the commits that run although their callers were cancelled."""


class Transactions:
    """Commits in transactions. The mark is written first, so that a duplicate costs one write.

    Args:
        client: The driver's client.
        database: The driver's database.
        make_calls: Makes the calls of a transaction that has only commands.
        monotonic: Returns seconds.
        sleep: Waits for a number of seconds.
    """

    def __init__(
        self,
        client: Any,
        database: Any,
        *,
        make_calls: MakeCalls = call_directly,
        monotonic: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._client = client
        self.database = database
        self._make_calls = make_calls
        self._monotonic = monotonic
        self._sleep = sleep
        self._idle_sessions: list[Any] = []
        self._abandoned = AbandonedTransactions(client, sleep=sleep)

    async def commit(self, work: Work) -> CommitReceipt:
        """Commit as :class:`Committer`. Retry on conflicts, up to COMMIT_SECONDS."""
        deadline = self._monotonic() + COMMIT_SECONDS
        backoff = _INITIAL_BACKOFF
        while True:
            try:
                return (await self.attempt([work]))[0]
            except AlreadyDone:
                await self._check_durable(work.mark)
                if self._monotonic() + backoff > deadline:
                    raise StoreUnavailable from None
            except DuplicateKeyError as error:
                raise ExpectationFailed("a document with an inserted _id exists") from error
            except ENCODING_ERRORS as error:
                raise _commit_refused(error) from error
            except PyMongoError as error:
                if error.timeout and work.unit.has_plugin_writes:
                    seconds = f"{PLUGIN_WRITE_SECONDS:g} s"
                    raise PluginFault(f"its writes took longer than {seconds}") from error
                if not error.has_error_label(_TRANSIENT):
                    raise _translated(error) from error
                if self._monotonic() + backoff > deadline:
                    raise StoreUnavailable from error
            # Without jitter, two deliveries that conflict once would conflict again.
            await self._sleep(backoff * random.uniform(0.5, 1.5))  # noqa: S311 (not a secret)
            backoff = min(backoff * 2, _MAX_BACKOFF)

    async def attempt(self, works: Sequence[Work]) -> list[CommitReceipt]:
        """Commit all works in one transaction, or none, without a retry."""
        receipts = [CommitReceipt() for _ in works]

        async def write(database: Any, mongo_session: Any) -> None:
            await _apply(works, receipts, database, mongo_session)

        async with self._session() as mongo_session:
            await transact(write, self.database, mongo_session)
        return receipts

    async def attempt_in_bulk(self, works: Sequence[Work]) -> list[CommitReceipt]:
        """Commit all works in one transaction with one bulk write for each collection, or none.

        Args:
            works: Works with a bulk form.

        Raises:
            DuplicateKeyError: The works need what :mod:`.bulk_writes` does not do, such as to
                find that a mark is set.
        """
        bulk, receipts = BulkWrites(), [CommitReceipt() for _ in works]
        for work, receipt in zip(works, receipts, strict=True):
            work.mark.add_to(bulk)
            work.unit.add_to(bulk, receipt)
        async with self._session() as mongo_session:
            await self._make_calls(partial(transact, bulk.apply), self.database, mongo_session)
        return receipts

    @asynccontextmanager
    async def _session(self) -> AsyncIterator[Any]:
        """Yield the session for a transaction, whose calls together take at most CALL_SECONDS.

        The time includes the wait for a thread of the driver. The session is used again after a
        commit: to start and end one costs two calls of the driver.
        """
        idle = self._idle_sessions
        mongo_session = idle.pop() if idle else await start_session(self._client)
        try:
            with pymongo.timeout(CALL_SECONDS):
                yield mongo_session
        except BaseException as error:
            if isinstance(error, PyMongoError) and error.timeout:
                self._abandoned.end(mongo_session)
            else:
                await mongo_session.end_session()
            raise
        if len(idle) < _MAX_IDLE_SESSIONS:
            idle.append(mongo_session)
        else:
            await mongo_session.end_session()

    @translate_errors
    async def _check_durable(self, mark: Mark | NoMark) -> None:
        """Raise AlreadyDone when a mark that was found is durable; return if it is gone.

        A mark that only the primary has may be lost with it. Then the delivery must not be answered
        as done: https://www.mongodb.com/docs/manual/reference/read-concern-linearizable/.
        """
        database = self.database.with_options(read_concern=ReadConcern("linearizable"))
        await mark.check(database, max_time_ms=int(COMMIT_SECONDS * 1000))


class MemoryCommitter:
    """Applies the writes one after the other, not atomically, for the demo and unit tests."""

    def __init__(self, database: Any) -> None:
        self.database = database
        self._lock = asyncio.Lock()

    async def commit(self, work: Work) -> CommitReceipt:
        """Commit as :class:`Committer`."""
        receipt = CommitReceipt()
        async with self._lock:
            await work.mark.check(self.database)
            try:
                await work.unit.apply(self.database, None, receipt)
            except DuplicateKeyError as error:
                raise ExpectationFailed("a document with an inserted _id exists") from error
            except ENCODING_ERRORS as error:
                raise _commit_refused(error) from error
            except PyMongoError as error:
                raise _translated(error) from error
            await work.mark.apply(self.database, None)
        return receipt

    async def close(self) -> None:
        """Close as :class:`Committer`. No commit outlives its caller."""


async def _apply(
    works: Sequence[Work], receipts: Sequence[CommitReceipt], database: Any, mongo_session: Any
) -> None:
    """Apply the writes to plugins' own collections, and then the marks and all other writes.

    A transaction locks what it has written until its end, and plugins' writes may be slow. So
    events and accounts, which other transactions also write, are written last.
    """
    with_plugin_writes = [
        pair for pair in zip(works, receipts, strict=True) if pair[0].unit.has_plugin_writes
    ]
    with pymongo.timeout(PLUGIN_WRITE_SECONDS) if with_plugin_writes else nullcontext():
        for work, receipt in with_plugin_writes:
            await work.mark.check(database, session=mongo_session)
            await work.unit.apply_plugin_writes(database, mongo_session, receipt)
    for work, receipt in zip(works, receipts, strict=True):
        await work.mark.apply(database, mongo_session)
        await work.unit.apply_service_writes(database, mongo_session, receipt)


def _translated(error: PyMongoError) -> CommitRefused | StoreUnavailable:
    refused = isinstance(error, OperationFailure) and not error.timeout
    return _commit_refused(error) if refused else StoreUnavailable()


def _commit_refused(error: Exception) -> CommitRefused:
    return CommitRefused(type(error).__name__)
