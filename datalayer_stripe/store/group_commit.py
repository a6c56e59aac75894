"""Commit concurrent deliveries in one transaction.

Concurrent transactions on one account's documents conflict, and each conflict costs a backoff and a
retry. Units of work that arrive during a commit are committed together after it, without conflicts.
A unit that arrives alone is committed immediately.

Units that have a bulk form are written by one bulk write for each collection, other units one after
the other. A group that the database refuses because marks are set, or because a unit is unusual, is
examined: what is done is a duplicate, and the rest is committed again. A group that fails for
another reason is halved, so that one bad unit among n costs about 2 log₂ n commits. If a connection
is lost, or a plugin's write exceeds its time limit, each unit is committed by itself. If the
database does not answer in time, all units that wait fail.

Plugins' writes to their own collections may be slow. Such units wait in one queue per plugin, and
are committed with the client of the plugins, so that credits and other plugins do not wait for
them.
"""

import asyncio
from collections.abc import Coroutine, Sequence
from contextlib import nullcontext, suppress
from dataclasses import dataclass, replace
from typing import Any

from pymongo.errors import ConnectionFailure, DuplicateKeyError, PyMongoError

from ..errors import AlreadyDone, StoreUnavailable
from ..tracing import NO_TRACER, CommitSpan, Tracer
from .commit import NoMark, Transactions, Work
from .refused_groups import examine
from .unit_of_work import CommitReceipt

MAX_BULK_SIZE = 64
"""Maximum number of units that are written by bulk writes in one transaction."""

# Transactions must be short, because they lock their documents until their end.
MAX_GROUP_SIZE = 32
"""Maximum number of units that are written one after the other in one transaction."""

CLOSE_SECONDS = 2.0
"""How long the end of the service waits for commits that run."""

# Limits the concurrent transactions of one plugin, in addition to the one of its group.
MAX_PLUGIN_TRANSACTIONS = 2


@dataclass(eq=False)
class _Request:
    """A unit of work that waits for its commit."""

    work: Work
    receipt: asyncio.Future[CommitReceipt]
    in_bulk: bool
    span: CommitSpan

    @property
    def key(self) -> tuple[str, ...]:
        return self.work.mark.key


class GroupCommitter:
    """A :class:`.commit.Committer` that commits concurrent units together.

    Args:
        transactions: Commits units that write to the service's collections only.
        plugin_transactions: Commits units with writes to plugins' own collections.
        tracer: Records the commits.
    """

    def __init__(
        self,
        transactions: Transactions,
        plugin_transactions: Transactions,
        tracer: Tracer = NO_TRACER,
    ) -> None:
        self.transactions = transactions
        self._plugin_transactions = plugin_transactions
        self._tracer = tracer
        self._service_queue = _Queue(transactions, tracer)
        # One queue per plugin. Their number is limited, because the names come from the registry.
        self._plugin_queues: dict[str, _Queue] = {}

    async def commit(self, work: Work) -> CommitReceipt:
        """Commit as :class:`.commit.Committer`."""
        return await self._queue_of(work).commit(work)

    def _queue_of(self, work: Work) -> "_Queue":
        if not work.unit.has_plugin_writes:
            return self._service_queue
        name = work.mark.plugin_name
        if name not in self._plugin_queues:
            self._plugin_queues[name] = _Queue(
                self._plugin_transactions,
                self._tracer,
                max_single_commits=MAX_PLUGIN_TRANSACTIONS,
            )
        return self._plugin_queues[name]

    async def close(self) -> None:
        """Close as :class:`.commit.Committer`.

        A transaction that the end of the client interrupts would lock its documents until the
        server ends it, a minute later.
        """
        with suppress(TimeoutError):
            async with asyncio.timeout(CLOSE_SECONDS):
                while tasks := self.running_tasks:  # a group that fails starts others
                    await asyncio.wait(tasks)

    @property
    def running_tasks(self) -> set[asyncio.Task[None]]:
        """The tasks that are committing."""
        queues = (self._service_queue, *self._plugin_queues.values())
        return set().union(*(queue.tasks for queue in queues))


class _Queue:
    """Queue of units that are committed together.

    Args:
        transactions: Commits the units.
        tracer: Records the commits.
        max_single_commits: How many units of a failed group are committed concurrently; None for
            no limit.
    """

    def __init__(
        self,
        transactions: Transactions,
        tracer: Tracer,
        *,
        max_single_commits: int | None = None,
    ) -> None:
        self._transactions = transactions
        self._tracer = tracer
        self._single_commits = (
            nullcontext() if max_single_commits is None else asyncio.Semaphore(max_single_commits)
        )
        self._requests: list[_Request] = []
        self.tasks: set[asyncio.Task[None]] = set()
        self._draining = False

    async def commit(self, work: Work) -> CommitReceipt:
        """Commit as :class:`.commit.Committer`."""
        receipt: asyncio.Future[CommitReceipt] = asyncio.get_running_loop().create_future()
        with self._tracer.commit() as span:
            self._requests.append(_Request(work, receipt, work.has_bulk_form, span))
            if not self._draining:
                self._draining = True
                self._start(self._drain())
            return await receipt

    async def _drain(self) -> None:
        try:
            while self._requests:
                await self._commit_group(self._next_group())
        finally:
            self._draining = False

    def _next_group(self) -> list[_Request]:
        """Remove and return the oldest request, and others that can be committed with it.

        A second request for the same event and plugin would abort the whole transaction.
        """
        in_bulk = self._requests[0].in_bulk
        max_size = MAX_BULK_SIZE if in_bulk else MAX_GROUP_SIZE
        group: dict[tuple[str, ...], _Request] = {}
        remaining = []
        for request in self._requests:
            if request.in_bulk is in_bulk and len(group) < max_size and request.key not in group:
                group[request.key] = request
            else:
                remaining.append(request)
        self._requests = remaining
        return list(group.values())

    async def _commit_group(self, group: Sequence[_Request]) -> None:
        in_bulk = group[0].in_bulk
        attempt = self._transactions.attempt_in_bulk if in_bulk else self._transactions.attempt
        try:
            with self._tracer.transaction([request.span for request in group]):
                receipts = await attempt([request.work for request in group])
        except (AlreadyDone, DuplicateKeyError):
            if not await self._put_back(group):
                await self._halve(group)
        except Exception as error:
            if _does_not_answer(error) and not group[0].work.unit.has_plugin_writes:
                # The requests that wait would wait as long again, and hold slots meanwhile.
                self._fail([*group, *self._requests], error)
                self._requests = []
            elif _takes_long(error):
                self._commit_singly(group)  # The halves could take as long, one after the other.
            else:
                # One unit, or another process, has caused a conflict or an error.
                await self._halve(group)
        else:
            for request, receipt in zip(group, receipts, strict=True):
                _resolve(request, receipt)
            self._resolve_duplicates({request.key for request in group})

    async def _halve(self, group: Sequence[_Request]) -> None:
        """Commit the halves of a group that has failed. A unit alone is retried beside the queue.

        So a unit that fails or has to wait does not affect the others.
        """
        middle = len(group) // 2
        if not middle:
            self._commit_singly(group)
            return
        for half in (group[:middle], group[middle:]):
            await self._commit_group(half)

    async def _put_back(self, group: Sequence[_Request]) -> bool:
        """Put the units of a refused group back into the queue, in the form that suits them.

        Those that are done are resolved.

        Returns:
            False if nothing was found that explains the refusal.
        """
        try:
            with self._tracer.transaction([request.span for request in group], "examination"):
                findings = await examine(
                    self._transactions.database, [request.work for request in group]
                )
        except Exception:
            return False  # Each unit will find out for itself.
        done, remaining, is_explained = set(), [], False
        for request, finding in zip(group, findings, strict=True):
            if finding.is_done:
                done.add(request.key)
                _resolve(request, AlreadyDone())
                continue
            remaining.append(request)
            mark = request.work.mark
            if request.in_bulk and finding.is_unusual:
                request.in_bulk, is_explained = False, True
            elif finding.is_known_event and not isinstance(mark, NoMark) and mark.is_new_event:
                request.work = request.work._replace(mark=replace(mark, is_new_event=False))
                is_explained = True
        if not (done or is_explained):
            return False
        self._requests[:0] = remaining
        self._resolve_duplicates(done)
        return True

    def _resolve_duplicates(self, done: set[tuple[str, ...]]) -> None:
        """Resolve the requests whose mark is known to be committed, without a transaction."""
        for request in self._requests:
            if request.key in done:
                _resolve(request, AlreadyDone())
        self._requests = [one for one in self._requests if one.key not in done]

    def _fail(self, requests: Sequence[_Request], cause: Exception) -> None:
        """Resolve requests because the database does not answer."""
        for request in requests:
            error = StoreUnavailable()
            error.__cause__ = cause
            _resolve(request, error)

    def _commit_singly(self, group: Sequence[_Request]) -> None:
        for request in group:
            self._start(self._commit_single(request))

    async def _commit_single(self, request: _Request) -> None:
        try:
            async with self._single_commits:
                with self._tracer.transaction([request.span]):
                    receipt = await self._transactions.commit(request.work)
                _resolve(request, receipt)
        except Exception as error:
            _resolve(request, error)

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        # The event loop has only weak references to tasks.
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)


def _does_not_answer(error: Exception) -> bool:
    """Return whether the database has not answered in time. It may be because of a slow write."""
    return isinstance(error, PyMongoError) and error.timeout


def _takes_long(error: Exception) -> bool:
    """Return whether a connection is lost, or a plugin's write has exceeded its time limit."""
    return isinstance(error, ConnectionFailure) or _does_not_answer(error)


def _resolve(request: _Request, outcome: CommitReceipt | Exception) -> None:
    if request.receipt.done():
        return  # The caller was cancelled.
    if isinstance(outcome, Exception):
        request.receipt.set_exception(outcome)
    else:
        request.receipt.set_result(outcome)
