"""Let deliveries that come at once share a transaction.

Transactions on one account's documents conflict, and each conflict costs a pause and another
try. What waits while a commit is under way is committed together next, one after the other in
one transaction, without conflict. A delivery that comes alone is committed alone, at once.

What plugins write to their own collections may be slow. Such units wait in a queue for each plugin,
and are committed by the client of the plugins, so that neither credits nor other plugins wait for
them.
"""

import asyncio
from collections.abc import Coroutine
from contextlib import nullcontext
from typing import Any, NamedTuple

from ..errors import AlreadyDone
from .commit import Transactions, Work
from .unit_of_work import CommitReceipt

# A transaction is to be short: it holds its documents until its end.
MAX_GROUP_SIZE = 32

# Transactions that one plugin has under way at once, beside that of its group.
MAX_PLUGIN_TRANSACTIONS = 2


class _Waiting(NamedTuple):
    work: Work
    receipt: asyncio.Future[CommitReceipt]


class GroupCommitter:
    """A :class:`.commit.Committer` that groups.

    Args:
        transactions: commits what the service itself writes.
        plugin_transactions: commits units with writes to plugins' own collections.
    """

    def __init__(self, transactions: Transactions, plugin_transactions: Transactions) -> None:
        self.transactions = transactions
        self._plugin_transactions = plugin_transactions
        self._ours = _Queue(transactions)
        # As many as there are plugins: the names come from the registry.
        self._plugins: dict[str, _Queue] = {}

    async def commit(self, work: Work) -> CommitReceipt:
        return await self._queue_of(work).commit(work)

    def _queue_of(self, work: Work) -> "_Queue":
        if not work.unit.has_foreign_writes:
            return self._ours
        name = work.mark.plugin_name
        if name not in self._plugins:
            self._plugins[name] = _Queue(
                self._plugin_transactions, max_alone=MAX_PLUGIN_TRANSACTIONS
            )
        return self._plugins[name]

    @property
    def under_way(self) -> set[asyncio.Task[None]]:
        """The tasks that commit at present."""
        return set().union(*(one.tasks for one in (self._ours, *self._plugins.values())))


class _Queue:
    """Units that wait for a commit that is under way, and are committed together after it.

    `max_alone` limits how many of a group that has failed are committed at once; None does not.
    """

    def __init__(self, transactions: Transactions, *, max_alone: int | None = None) -> None:
        self._transactions = transactions
        self._alone = nullcontext() if max_alone is None else asyncio.Semaphore(max_alone)
        self._waiting: list[_Waiting] = []
        self.tasks: set[asyncio.Task[None]] = set()
        self._draining = False

    async def commit(self, work: Work) -> CommitReceipt:
        waiting = _Waiting(work, asyncio.get_running_loop().create_future())
        self._waiting.append(waiting)
        if not self._draining:
            self._draining = True
            self._start(self._drain())
        return await waiting.receipt

    async def _drain(self) -> None:
        try:
            while self._waiting:
                await self._commit_group(self._next_group())
        finally:
            self._draining = False

    def _next_group(self) -> list[_Waiting]:
        """The oldest that wait, each event's plugin once: a second one would undo them all."""
        group: dict[tuple[str, ...], _Waiting] = {}
        left = []
        for waiting in self._waiting:
            key = waiting.work.mark.key
            if key in group or len(group) == MAX_GROUP_SIZE:
                left.append(waiting)
            else:
                group[key] = waiting
        self._waiting = left
        return list(group.values())

    async def _commit_group(self, group: list[_Waiting]) -> None:
        try:
            receipts = await self._transactions.attempt([waiting.work for waiting in group])
        except Exception:
            # One of them, or another process, is in the way. Each goes on by itself, so that the
            # one that has to wait, or that fails, is nobody else's trouble.
            for waiting in group:
                self._start(self._commit_alone(waiting))
            return
        for waiting, receipt in zip(group, receipts, strict=True):
            _settle(waiting, receipt)
        self._settle_duplicates({waiting.work.mark.key for waiting in group})

    def _settle_duplicates(self, done: set[tuple[str, ...]]) -> None:
        """Spare the database those whose mark has just been committed."""
        for waiting in self._waiting:
            if waiting.work.mark.key in done:
                _settle(waiting, AlreadyDone())
        self._waiting = [one for one in self._waiting if one.work.mark.key not in done]

    async def _commit_alone(self, waiting: _Waiting) -> None:
        try:
            async with self._alone:
                _settle(waiting, await self._transactions.commit(waiting.work))
        except Exception as error:
            _settle(waiting, error)

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        # The loop holds tasks weakly.
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)


def _settle(waiting: _Waiting, outcome: CommitReceipt | Exception) -> None:
    if waiting.receipt.done():
        return  # who waited was cancelled
    if isinstance(outcome, Exception):
        waiting.receipt.set_exception(outcome)
    else:
        waiting.receipt.set_result(outcome)
