"""Run deferred plugins: take a job by a lease, run it, commit, or put it off.

Each process that serves has a worker. One of them runs a job; if its process dies, the lease ends
and another takes it.
"""

import asyncio
import logging
import random
from collections import Counter
from contextlib import suppress
from datetime import timedelta
from typing import Any

from ..clock import Clock
from ..errors import Reject, StoreUnavailable
from ..logs import log_context
from ..metrics import Metrics
from ..plugin_api.definition import Plugin
from ..plugin_api.registry import Registry
from ..store import Store, UnitOfWork
from ..store.events import DONE, AlreadyDone, Mark
from ..store.jobs import Job, JobDone, JobFailed, JobRejected
from ..stripe_api.objects import account_uid_of
from .runner import Outcome, Runner, report

logger = logging.getLogger(__name__)

# How often it looks when nobody wakes it.
POLL_SECONDS = 5.0

# Jobs that run at once in a process: in all, and of one plugin.
MAX_CONCURRENT_JOBS = 16
MAX_CONCURRENT_JOBS_PER_PLUGIN = 4
# Of these, what only plugins that move money may use.
RESERVED_FOR_MONEY = 4

# 5 s, 10 s, 20 s … an hour, an hour: about three days, as long as Stripe tries to deliver.
INITIAL_BACKOFF = timedelta(seconds=5)
MAX_BACKOFF = timedelta(hours=1)
MAX_ATTEMPTS = 80

# What a run needs beside the plugin's own limit: its commit, and the record of its end.
_LEASE_MARGIN = timedelta(seconds=20)


def backoff_after(attempts: int) -> timedelta:
    """How long a job rests after so many attempts, without the jitter."""
    # Far above the cap already: a larger power is no timedelta any more.
    doubled: int = 2 ** min(attempts - 1, 20)
    return min(INITIAL_BACKOFF * doubled, MAX_BACKOFF)


class Worker:
    """:meth:`start` and :meth:`stop` it in the event loop of the service."""

    def __init__(
        self, store: Store, registry: Registry, runner: Runner, metrics: Metrics, clock: Clock
    ) -> None:
        self._store = store
        self._registry = registry
        self._runner = runner
        self._metrics = metrics
        self._clock = clock
        self._woken = asyncio.Event()
        self._loop: asyncio.Task[None] | None = None
        self._jobs: set[asyncio.Task[None]] = set()
        self._running: Counter[str] = Counter()
        self._money_plugins = [one.name for one in registry.plugins if one.moves_money]

    def start(self) -> None:
        self._loop = asyncio.create_task(self._work())

    def wake(self) -> None:
        """Look at once whether something is due."""
        self._woken.set()

    async def stop(self, *, seconds: float) -> None:
        """Take no more, and let what runs finish within `seconds`; the rest is another's later."""
        if self._loop is not None:
            self._loop.cancel()
            with suppress(asyncio.CancelledError):
                await self._loop
            self._loop = None
        if self._jobs:
            _, unfinished = await asyncio.wait(self._jobs, timeout=seconds)
            for job in unfinished:
                job.cancel()
            if unfinished:
                logger.warning("Deferred work was still under way: it is taken up again later")
                await asyncio.wait(unfinished)

    async def run_due(self) -> None:
        """Run all that is due, until nothing is."""
        while await self._take_some() or self._jobs:
            if self._jobs:
                await asyncio.wait(self._jobs, return_when=asyncio.FIRST_COMPLETED)

    async def _work(self) -> None:
        while True:
            self._woken.clear()
            try:
                await self._take_some()
                self._metrics.jobs_waiting.set(await self._store.jobs.waiting())
            except StoreUnavailable as error:
                logger.warning("no deferred work", extra={"cause": type(error.__cause__).__name__})
            except Exception:
                logger.exception("no deferred work")
            with suppress(TimeoutError):
                # Not in step with other processes.
                async with asyncio.timeout(POLL_SECONDS * random.uniform(0.8, 1.2)):  # noqa: S311
                    await self._woken.wait()

    async def _take_some(self) -> int:
        """Start what is due, in turn of the plugins, as long as there is room."""
        taken = 0
        names = [name for name in await self._store.jobs.plugins() if self._has_room(name)]
        while names:
            for name in list(names):
                if self._has_room(name) and await self._take(name):
                    taken += 1
                else:
                    names.remove(name)
        return taken

    def _has_room(self, name: str) -> bool:
        """Return whether one more job of this plugin may run.

        A plugin may have half as many running as there are slots left for it. So several that hang
        leave some to the others.
        """
        plugin = self._registry.named(name)
        if plugin is None:
            return False  # its jobs wait for a process that has it
        running = self._running[name]
        return running < MAX_CONCURRENT_JOBS_PER_PLUGIN and 2 * running < self._free_for(plugin)

    def _free_for(self, plugin: Plugin[Any]) -> int:
        free = MAX_CONCURRENT_JOBS - self._running.total()
        if plugin.moves_money:
            return free
        for_money = sum(self._running[name] for name in self._money_plugins)
        others = self._running.total() - for_money
        return min(free, MAX_CONCURRENT_JOBS - RESERVED_FOR_MONEY - others)

    async def _take(self, name: str) -> bool:
        plugin = self._registry.named(name)
        assert plugin is not None  # noqa: S101 (it has room)
        lease = timedelta(seconds=plugin.max_timeout) + _LEASE_MARGIN
        job = await self._store.jobs.take(name, self._clock(), lease)
        if job is None:
            return False
        self._running[name] += 1
        task = asyncio.create_task(self._run_to_its_end(plugin, job))
        self._jobs.add(task)
        task.add_done_callback(self._jobs.discard)
        return True

    async def _run_to_its_end(self, plugin: Plugin[Any], job: Job) -> None:
        event = job.event
        with log_context(event_id=event.id, account_uid=account_uid_of(event.object)):
            try:
                outcome = await self._outcome(plugin, job)
            except StoreUnavailable:
                outcome = Outcome.FAILED  # nothing is kept; the lease ends, and it is tried again
            except Exception:
                logger.exception("a job's end could not be kept")
                outcome = Outcome.FAILED
            finally:
                self._running[plugin.name] -= 1
                self.wake()  # there is room again
            logger.info(
                "job",
                extra={
                    "type": event.type,
                    "plugin": plugin.name,
                    "outcome": outcome.value,
                    "attempts": job.attempts,
                },
            )
        self._metrics.jobs.labels(plugin.name, outcome.value).inc()

    async def _outcome(self, plugin: Plugin[Any], job: Job) -> Outcome:
        outcome = await self._attempt(plugin, job)
        if outcome is Outcome.DUPLICATE and await self._is_done(job):
            await self._store.jobs.forget(job)
        return outcome

    async def _attempt(self, plugin: Plugin[Any], job: Job) -> Outcome:
        """DUPLICATE where it is done, or another's by now."""
        registration = plugin.registration(job.event.type)
        try:
            if job.attempts > MAX_ATTEMPTS:
                # Who runs it may die of it, and so never say that it has failed.
                raise Reject(f"given up after {MAX_ATTEMPTS} attempts, the last without an end")
            if registration is None:
                raise Reject(f"the plugin does nothing on {job.event.type} any more")
            return await self._runner.run(plugin, registration, job.event, JobDone)
        except Reject as signal:
            return await self._reject(job, signal.reason)
        except Exception as error:
            return await self._retry_later(job, report(plugin, error))

    async def _is_done(self, job: Job) -> bool:
        runs = await self._store.events.runs([job.event.id])
        return runs.get(job.event.id, {}).get(job.plugin) == DONE

    async def _retry_later(self, job: Job, error: str) -> Outcome:
        if job.attempts >= MAX_ATTEMPTS:
            return await self._reject(job, f"given up after {job.attempts} attempts: {error}")
        now = self._clock()
        pause = backoff_after(job.attempts) * random.uniform(0.8, 1.2)  # noqa: S311 (no secret)
        failed = JobFailed(job.event, job.plugin, now, job, error, now + pause)
        return Outcome.FAILED if await self._commit_end(failed) else Outcome.DUPLICATE

    async def _reject(self, job: Job, reason: str) -> Outcome:
        logger.warning("rejected", extra={"plugin": job.plugin, "reason": reason})
        rejected = JobRejected(job.event, job.plugin, self._clock(), job, reason)
        return Outcome.REJECTED if await self._commit_end(rejected) else Outcome.DUPLICATE

    async def _commit_end(self, end: Mark) -> bool:
        """Whether it was still ours to tell."""
        try:
            await self._store.commit(UnitOfWork(), end)
        except AlreadyDone:
            return False
        return True
