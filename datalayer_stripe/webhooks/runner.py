"""Run one plugin on one event, within its time, and commit what it has recorded with a mark.

A plugin is other people's code: whatever it does or raises is its own failure, and no other's.
"""

import asyncio
import inspect
import logging
import traceback
from collections.abc import Callable, Coroutine
from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import Any

from ..clock import Clock
from ..errors import DatalayerStripeError, ExpectationFailed, PluginFault, PluginSignal, Retry
from ..events import Event
from ..metrics import Metrics
from ..plugin_api.context import ContextFactory
from ..plugin_api.definition import Plugin, Registration
from ..store import Store, UnitOfWork
from ..store.events import AlreadyDone, Mark
from ..stripe_api.errors import is_of_the_sdk, summary_of

logger = logging.getLogger(__name__)

# How often a plugin is run when what it had read changes before its commit.
_MAX_RUNS = 5

# So long a plugin that was told to end may still take, to close what it has opened.
_GRACE_SECONDS = 0.5

MakeMark = Callable[[Event, str, Any], Mark]


class Outcome(StrEnum):
    """How a delivery, or one plugin's part of it, ended. The last two are answered 503."""

    PROCESSED = "processed"
    DEFERRED = "deferred"
    DUPLICATE = "duplicate"
    IGNORED = "ignored"
    REJECTED = "rejected"
    FAILED = "failed"
    OVERLOADED = "overloaded"


class Runner:
    def __init__(
        self, store: Store, contexts: ContextFactory, metrics: Metrics, clock: Clock
    ) -> None:
        self._store = store
        self._contexts = contexts
        self._metrics = metrics
        self._clock = clock

    async def run(
        self,
        plugin: Plugin[Any],
        registration: Registration[Any],
        event: Event,
        mark: MakeMark = Mark,
    ) -> Outcome:
        """PROCESSED, or DUPLICATE where the mark was set already. Nothing is kept otherwise.

        Each run of the plugin gets a copy of the event, so that a plugin that changes it changes
        neither what other plugins see nor what is stored.

        Raises Reject or whatever else the plugin does, PluginFault for what none may do, and the
        errors of :meth:`.Store.commit`.
        """
        for last in (False,) * (_MAX_RUNS - 1) + (True,):
            now = self._clock()
            unit = UnitOfWork()
            context = self._contexts.make(event, plugin, unit, now)
            await run_isolated(registration.function(event.copied(), context), registration.seconds)
            try:
                done = replace(mark(event, plugin.name, now), writes=len(unit.operations))
                receipt = await self._store.commit(unit, done)
            except AlreadyDone:
                return Outcome.DUPLICATE
            except ExpectationFailed:
                if last:
                    raise
                continue
            break
        self._metrics.credits_added.inc(receipt.credits_added)
        self._metrics.credits_taken_back.inc(receipt.credits_taken_back)
        for ledger_id in receipt.already_credited:
            logger.info("credited before, by another event", extra={"ledger_id": ledger_id})
        return Outcome.PROCESSED


# Those that go on after they were told to end: the loop holds tasks weakly.
_left_behind: set[asyncio.Task[None]] = set()


async def run_isolated(work: Coroutine[Any, Any, object], seconds: float) -> None:
    """Await a plugin's coroutine in a task of its own, for so many seconds at most.

    A plugin that does not end when its time is up is left behind: nobody waits for it, and
    nothing that it records counts any more. Raises what it raises, or PluginFault.
    """
    task = asyncio.create_task(_as_failure(work))
    task.add_done_callback(_forget)
    try:
        done, _ = await asyncio.wait({task}, timeout=seconds)
        if not done:
            task.cancel()
            done, _ = await asyncio.wait({task}, timeout=_GRACE_SECONDS)
            if not done:
                logger.error("a plugin goes on after its time, and is left behind")
            raise PluginFault(f"it took longer than {seconds:g} s")
    finally:
        if not task.done():
            task.cancel()
            _left_behind.add(task)
    task.result()


def _forget(task: asyncio.Task[None]) -> None:
    _left_behind.discard(task)
    if not task.cancelled():
        task.exception()  # is known, or nobody's business any more


async def _as_failure(work: Coroutine[Any, Any, object]) -> None:
    """Await it; what would end the service or its task becomes a failure of the plugin's."""
    try:
        given = await work
    except (Exception, KeyboardInterrupt):
        raise
    except BaseException as error:
        task = asyncio.current_task()
        if isinstance(error, asyncio.CancelledError) and task is not None and task.cancelling():
            raise  # it was told to
        raise PluginFault(f"it raised {type(error).__name__}") from error
    if given is not None:
        if inspect.iscoroutine(given):
            given.close()
        raise PluginFault(f"it returned {type(given).__name__}, and a plugin returns nothing")


def report(plugin: Plugin[Any], error: Exception) -> str:
    """Log a failure, and return what is kept of it.

    A plugin that raises Retry waits for something and is run again: that is no error of anybody's.
    """
    kept = summary(error)
    if isinstance(error, Retry):
        logger.info("not yet", extra={"plugin": plugin.name, "error": kept})
        return kept
    # What we raise ourselves says all, and so does the summary of an error of Stripe's SDK, whose
    # text may hold somebody's data. Only other errors need their traceback.
    known = isinstance(error, DatalayerStripeError) or summary_of(error) is not None
    logger.error(
        "failed",
        extra={"plugin": plugin.name, "error": kept},
        exc_info=None if known else error,
    )
    return kept


def summary(error: Exception) -> str:
    """What is kept of a failure: a plugin's own words, else the error's kind and place.

    Not an unknown error's text, which may hold a token or somebody's data.
    """
    if isinstance(error, PluginSignal):
        return error.reason
    if isinstance(error, PluginFault):
        return str(error)
    frames: list[traceback.FrameSummary] = traceback.extract_tb(error.__traceback__)
    at_stripe = summary_of(error)
    if at_stripe is not None:
        frames = [frame for frame in frames if not is_of_the_sdk(frame.filename)]
        at_stripe += ","
    place = f" at {Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else ""
    return f"{at_stripe or type(error).__name__}{place}"
