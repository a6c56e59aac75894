"""Run deferred jobs: lease a job, run its plugin, and commit, or retry later with a backoff.

Each process that serves has a worker. If the process that runs a job dies, the job's lease expires
and another process takes it.
"""

import asyncio
import logging
import random
from collections.abc import Sequence
from contextlib import suppress
from datetime import timedelta
from typing import Any

from ..clock import Clock
from ..errors import AlreadyDone, Defer, RateLimited, Reject, StoreUnavailable
from ..logs import log_context
from ..metrics import Metrics
from ..plugin_api.definition import Plugin
from ..plugin_api.isolation import log_deferral, log_failure
from ..plugin_api.registry import Registry
from ..store import Store, UnitOfWork
from ..store.event_records import DONE
from ..store.job_marks import JobDone, JobFailed, JobRejected
from ..store.jobs import Job
from ..store.marks import Mark
from ..stripe_api.rate_limit import JOB_WAIT_SECONDS, own_calls
from ..tasks import cancel_and_wait
from ..tracing import NO_TRACER, Tracer
from .job_slots import JobSlots
from .observers import Observers
from .outcome import Outcome
from .processor import log_rejection
from .runner import Runner

logger = logging.getLogger(__name__)

POLL_SECONDS = 5.0
"""How often the worker looks for due jobs when it is not woken."""

MAX_JOBS_TOGETHER = 32
"""Jobs about one object that share a slot."""

# The delay doubles from 5 s to an hour: 80 attempts take about three days, which is also how long
# Stripe tries to deliver an event.
INITIAL_BACKOFF = timedelta(seconds=5)
MAX_BACKOFF = timedelta(hours=1)
MAX_ATTEMPTS = 80

MIN_POSTPONEMENT = timedelta(seconds=1)
"""The shortest delay of a job that raised `Defer`, so that it does not run all the time."""

# How long a stop waits for the call to the database that is in progress.
_LOOP_END_SECONDS = 1.0

# A lease is longer than the plugin's time limit, for the commit and the record of a failure.
_LEASE_MARGIN = timedelta(seconds=20)


def backoff_after(attempts: int) -> timedelta:
    """Return the delay before the next attempt, without jitter.

    Args:
        attempts: The number of attempts so far, at least 1.
    """
    # The cap is reached long before: a larger exponent would overflow a timedelta.
    factor: int = 2 ** min(attempts - 1, 20)
    return min(INITIAL_BACKOFF * factor, MAX_BACKOFF)


class Worker:
    """Runs deferred jobs in the event loop of the service."""

    def __init__(
        self,
        store: Store,
        registry: Registry,
        runner: Runner,
        metrics: Metrics,
        clock: Clock,
        observers: Observers,
        tracer: Tracer = NO_TRACER,
    ) -> None:
        self._store = store
        self._registry = registry
        self._runner = runner
        self._metrics = metrics
        self._clock = clock
        self._observers = observers
        self._tracer = tracer
        self._woken = asyncio.Event()
        self._loop: asyncio.Task[None] | None = None
        self._is_stopping = False
        self._jobs: set[asyncio.Task[None]] = set()
        self._slots = JobSlots(registry)
        self._last_success = metrics.task_last_success.labels("worker")

    def start(self) -> None:
        """Begin to take jobs."""
        self._is_stopping = False
        self._loop = asyncio.create_task(self._work())

    def wake(self) -> None:
        """Look for due jobs at once."""
        self._woken.set()

    async def stop(self, *, seconds: float) -> None:
        """Take no more jobs, and wait for those that run.

        Args:
            seconds: How long to wait. Jobs that still run are cancelled: another process runs them
                again after their leases have expired.
        """
        if self._loop is not None:
            # The loop ends by itself. A cancellation would drop the answer of a call that leases a
            # job, so that no process ran the job before its lease expired.
            self._is_stopping = True
            self.wake()
            _, late = await asyncio.wait({self._loop}, timeout=_LOOP_END_SECONDS)
            await cancel_and_wait(*late)
            self._loop, self._is_stopping = None, False
        if self._jobs:
            _, unfinished = await asyncio.wait(self._jobs, timeout=seconds)
            if unfinished:
                logger.warning("Deferred jobs were cancelled; they will run again later")
                await cancel_and_wait(*unfinished)

    async def run_due(self) -> None:
        """Run all due jobs, and return when none is due and none runs."""
        while await self._take_due_jobs() or self._jobs:
            if self._jobs:
                await asyncio.wait(self._jobs, return_when=asyncio.FIRST_COMPLETED)

    async def _work(self) -> None:
        while not self._is_stopping:
            self._woken.clear()
            try:
                await self._take_due_jobs()
                self._metrics.jobs_waiting.set(await self._store.jobs.count())
                self._last_success.set(self._clock().timestamp())
            except StoreUnavailable as error:
                cause = type(error.__cause__).__name__
                logger.warning("cannot take deferred jobs", extra={"cause": cause})
            except Exception:
                logger.exception("cannot take deferred jobs")
            with suppress(TimeoutError):
                # The jitter keeps several processes from looking at the same moment.
                async with asyncio.timeout(POLL_SECONDS * random.uniform(0.8, 1.2)):  # noqa: S311
                    await self._woken.wait()

    async def _take_due_jobs(self) -> int:
        """Start due jobs, one of each plugin in turn, while there are free slots.

        Returns:
            How many were started.
        """
        taken = 0
        names = [name for name in await self._store.jobs.plugins() if self._may_take(name)]
        while names:
            for name in list(names):
                if self._may_take(name) and await self._take(name):
                    taken += 1
                else:
                    names.remove(name)
        return taken

    def _may_take(self, name: str) -> bool:
        return not self._is_stopping and self._slots.has_free(name)

    async def _take(self, name: str) -> bool:
        """Lease the job of this plugin that has been due for longest, and start it."""
        plugin = self._registry.named(name)
        assert plugin is not None  # noqa: S101 (it has a free slot)
        lease = timedelta(seconds=plugin.max_timeout) + _LEASE_MARGIN
        job = await self._store.jobs.take(name, self._clock(), lease)
        if job is None:
            return False
        self._slots.acquire(name)
        try:
            jobs = [job, *await self._take_more(plugin, job, lease)]
        except BaseException:
            self._slots.release(name)
            raise
        task = asyncio.create_task(self._run_together(plugin, jobs))
        self._jobs.add(task)
        task.add_done_callback(self._jobs.discard)
        return True

    async def _take_more(self, plugin: Plugin[Any], job: Job, lease: timedelta) -> Sequence[Job]:
        """Lease the other jobs of the same type and object, unless their function is deferred.

        A burst of events about one object becomes jobs when Stripe is busy. They run together, so
        that they share what they read. The jobs of a deferred function run one by one.
        """
        registration = plugin.registration(job.event.type)
        if registration is None or registration.deferred:
            return ()
        jobs = self._store.jobs
        return await jobs.take_more(job, self._clock(), lease, limit=MAX_JOBS_TOGETHER - 1)

    async def _run_together(self, plugin: Plugin[Any], jobs: Sequence[Job]) -> None:
        """Run jobs that share one slot."""
        try:
            await asyncio.gather(*(self._run(plugin, job) for job in jobs))
        finally:
            self._slots.release(plugin.name)
            self.wake()  # a slot is free

    async def _run(self, plugin: Plugin[Any], job: Job) -> None:
        event = job.event
        with (
            log_context(event_id=event.id, account_uid=event.account_uid),
            self._tracer.job(plugin.name, event.id, event.type, job.traceparent) as span,
        ):
            try:
                outcome = await self._attempt(plugin, job)
                if outcome is Outcome.DUPLICATE and await self._is_done(job):
                    await self._store.jobs.delete(job)
            except StoreUnavailable:
                outcome = Outcome.FAILED  # nothing is recorded; it runs again after its lease
            except Exception:
                logger.exception("cannot record the end of a deferred job")
                outcome = Outcome.FAILED
            logger.info(
                "deferred job",
                extra={
                    "type": event.type,
                    "plugin": plugin.name,
                    "outcome": outcome.value,
                    "attempts": job.attempts,
                },
            )
            span.end(outcome.value)
        self._metrics.jobs.labels(plugin.name, outcome.value).inc()
        self._observers.job_ended(plugin.name, event, outcome, job.attempts)

    async def _attempt(self, plugin: Plugin[Any], job: Job) -> Outcome:
        """Run the plugin once, and record how it ended.

        Returns:
            DUPLICATE if the work is done, or another process holds the job by now.
        """
        registration = plugin.registration(job.event.type)
        raised: Exception | None = None
        try:
            if job.attempts > MAX_ATTEMPTS:
                # The process may die in each run, and so never record a failure.
                raise Reject(f"given up after {MAX_ATTEMPTS} attempts; the last one never ended")
            if registration is None:
                raise Reject(f"the plugin does not handle {job.event.type} any more")
            with own_calls(JOB_WAIT_SECONDS):
                outcome = await self._runner.run(plugin, registration, job.event, JobDone)
        except Reject as error:
            raised = error
            outcome = await self._reject(job, error.reason)
        except (Defer, RateLimited) as error:
            outcome = await self._postpone(job, error, log_deferral(plugin.name, error))
        except Exception as error:
            raised = error
            outcome = await self._retry_later(job, log_failure(plugin.name, error))
        self._observers.run_ended(plugin.name, job.event, outcome, raised)
        return outcome

    async def _is_done(self, job: Job) -> bool:
        runs = await self._store.events.runs([job.event.id])
        return runs.get(job.event.id, {}).get(job.plugin) == DONE

    async def _postpone(self, job: Job, error: Exception, seconds: float) -> Outcome:
        """Run a job again later, without counting the attempt."""
        now = self._clock()
        due_at = now + max(timedelta(seconds=seconds), MIN_POSTPONEMENT)
        is_held = await self._store.jobs.postpone(
            job, now, due_at, may_run_early=isinstance(error, RateLimited)
        )
        return Outcome.DEFERRED if is_held else Outcome.DUPLICATE

    async def _retry_later(self, job: Job, error: str) -> Outcome:
        if job.attempts >= MAX_ATTEMPTS:
            return await self._reject(job, f"given up after {job.attempts} attempts: {error}")
        now = self._clock()
        backoff = backoff_after(job.attempts) * random.uniform(0.8, 1.2)  # noqa: S311 (no secret)
        failed = JobFailed(job.event, job.plugin, now, job, error, now + backoff)
        return Outcome.FAILED if await self._commit_end(failed) else Outcome.DUPLICATE

    async def _reject(self, job: Job, reason: str) -> Outcome:
        log_rejection(job.plugin, reason)
        rejected = JobRejected(job.event, job.plugin, self._clock(), job, reason)
        return Outcome.REJECTED if await self._commit_end(rejected) else Outcome.DUPLICATE

    async def _commit_end(self, end: Mark) -> bool:
        """Commit how an attempt ended; return False if another process holds the job by now."""
        try:
            await self._store.commit(UnitOfWork(), end)
        except AlreadyDone:
            return False
        return True
