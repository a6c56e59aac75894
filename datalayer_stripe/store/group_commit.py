"""Commit concurrent deliveries in one transaction.

Concurrent transactions on one account's documents conflict, and each conflict costs a backoff and a
retry. Units of work that arrive during a commit are committed together after it, one after the
other in one transaction, without conflicts. A unit that arrives alone is committed immediately.

Plugins' writes to their own collections may be slow. Such units wait in one queue per plugin, and
are committed with the client of the plugins, so that credits and other plugins do not wait for
them.
"""

import asyncio
from collections.abc import Coroutine
from contextlib import nullcontext
from typing import Any, NamedTuple

from ..errors import AlreadyDone
from .commit import Transactions, Work
from .unit_of_work import CommitReceipt

# Transactions must be short, because they lock their documents until their end.
MAX_GROUP_SIZE = 32

# Limits the concurrent transactions of one plugin, in addition to the one of its group.
MAX_PLUGIN_TRANSACTIONS = 2


class _Request(NamedTuple):
    """A unit of work that waits for its commit."""

    work: Work
    receipt: asyncio.Future[CommitReceipt]


class GroupCommitter:
    """A :class:`.commit.Committer` that commits concurrent units together.

    Args:
        transactions: Commits units that write to the service's collections only.
        plugin_transactions: Commits units with writes to plugins' own collections.
    """

    def __init__(self, transactions: Transactions, plugin_transactions: Transactions) -> None:
        self.transactions = transactions
        self._plugin_transactions = plugin_transactions
        self._service_queue = _Queue(transactions)
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
                self._plugin_transactions, max_single_commits=MAX_PLUGIN_TRANSACTIONS
            )
        return self._plugin_queues[name]

    @property
    def running_tasks(self) -> set[asyncio.Task[None]]:
        """The tasks that are committing."""
        queues = (self._service_queue, *self._plugin_queues.values())
        return set().union(*(queue.tasks for queue in queues))


class _Queue:
    """Queue of units that are committed together.

    Args:
        transactions: Commits the units.
        max_single_commits: How many units of a failed group are committed concurrently; None for
            no limit.
    """

    def __init__(
        self, transactions: Transactions, *, max_single_commits: int | None = None
    ) -> None:
        self._transactions = transactions
        self._single_commits = (
            nullcontext() if max_single_commits is None else asyncio.Semaphore(max_single_commits)
        )
        self._requests: list[_Request] = []
        self.tasks: set[asyncio.Task[None]] = set()
        self._draining = False

    async def commit(self, work: Work) -> CommitReceipt:
        """Commit as :class:`.commit.Committer`."""
        request = _Request(work, asyncio.get_running_loop().create_future())
        self._requests.append(request)
        if not self._draining:
            self._draining = True
            self._start(self._drain())
        return await request.receipt

    async def _drain(self) -> None:
        try:
            while self._requests:
                await self._commit_group(self._next_group())
        finally:
            self._draining = False

    def _next_group(self) -> list[_Request]:
        """Remove and return the oldest requests, at most one for each event and plugin.

        A second request for the same event and plugin would abort the whole transaction.
        """
        group: dict[tuple[str, ...], _Request] = {}
        remaining = []
        for request in self._requests:
            key = request.work.mark.key
            if key in group or len(group) == MAX_GROUP_SIZE:
                remaining.append(request)
            else:
                group[key] = request
        self._requests = remaining
        return list(group.values())

    async def _commit_group(self, group: list[_Request]) -> None:
        try:
            receipts = await self._transactions.attempt([request.work for request in group])
        except Exception:
            # One unit, or another process, caused a conflict or an error. Each unit is committed
            # alone, so that a unit that fails or waits does not affect the others.
            for request in group:
                self._start(self._commit_single(request))
            return
        for request, receipt in zip(group, receipts, strict=True):
            _resolve(request, receipt)
        self._resolve_duplicates({request.work.mark.key for request in group})

    def _resolve_duplicates(self, done: set[tuple[str, ...]]) -> None:
        """Resolve the requests whose mark has just been committed, without a transaction."""
        for request in self._requests:
            if request.work.mark.key in done:
                _resolve(request, AlreadyDone())
        self._requests = [one for one in self._requests if one.work.mark.key not in done]

    async def _commit_single(self, request: _Request) -> None:
        try:
            async with self._single_commits:
                _resolve(request, await self._transactions.commit(request.work))
        except Exception as error:
            _resolve(request, error)

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        # The event loop has only weak references to tasks.
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)


def _resolve(request: _Request, outcome: CommitReceipt | Exception) -> None:
    if request.receipt.done():
        return  # The caller was cancelled.
    if isinstance(outcome, Exception):
        request.receipt.set_exception(outcome)
    else:
        request.receipt.set_result(outcome)
