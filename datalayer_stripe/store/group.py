"""Let deliveries that come at once share a transaction.

Transactions on one account's documents conflict, and each conflict costs a pause and another
try. What waits while a commit is under way is committed together next, one after the other in
one transaction, without conflict. A delivery that comes alone is committed alone, at once.

What plugins write to their own collections may take as long as it likes: it waits in a queue of
its own, and no credits wait behind it.
"""

import asyncio
from collections.abc import Coroutine
from typing import Any, NamedTuple

from .commit import Transactions, Work
from .events import AlreadyDone
from .unit import CommitReceipt

# A transaction is to be short: it holds its documents until its end.
LARGEST_GROUP = 32


class _Waiting(NamedTuple):
    work: Work
    receipt: asyncio.Future[CommitReceipt]


class GroupCommitter:
    """A :class:`.commit.Committer` that groups."""

    def __init__(self, transactions: Transactions) -> None:
        self.transactions = transactions
        self._ours = _Queue(transactions)
        self._plugins = _Queue(transactions)

    async def commit(self, work: Work) -> CommitReceipt:
        queue = self._plugins if work.unit.has_foreign_writes else self._ours
        return await queue.commit(work)


class _Queue:
    """What waits for a commit that is under way, and is committed together after it."""

    def __init__(self, transactions: Transactions) -> None:
        self._transactions = transactions
        self._waiting: list[_Waiting] = []
        self._tasks: set[asyncio.Task[None]] = set()
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
            if key in group or len(group) == LARGEST_GROUP:
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
            _settle(waiting, await self._transactions.commit(waiting.work))
        except Exception as error:
            _settle(waiting, error)

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        # The loop holds tasks weakly.
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _settle(waiting: _Waiting, outcome: CommitReceipt | Exception) -> None:
    if waiting.receipt.done():
        return  # who waited was cancelled
    if isinstance(outcome, Exception):
        waiting.receipt.set_exception(outcome)
    else:
        waiting.receipt.set_result(outcome)
