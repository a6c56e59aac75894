"""Run a plugin's code so that whatever it does or raises is its own failure only."""

import asyncio
import inspect
import logging
import traceback
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

from ..errors import (
    DatalayerStripeError,
    Defer,
    PluginFault,
    PluginSignal,
    RateLimited,
    Retry,
)
from ..stripe_api.errors import error_summary, is_sdk_file
from ..tasks import retrieve_error

logger = logging.getLogger(__name__)

# Grace period after cancellation, in seconds, in which a plugin may close what it has opened.
GRACE_SECONDS = 0.5

# Tasks that still run after their cancellation. The event loop itself holds tasks only weakly.
_abandoned: set[asyncio.Task[Any]] = set()


async def run_isolated(work: Coroutine[Any, Any, object], seconds: float) -> None:
    """Await a plugin's coroutine in a task of its own.

    A plugin that does not end within its time limit and the grace period is abandoned: nothing
    awaits its task any more, and what it records is discarded.

    Args:
        work: The coroutine. It must return None.
        seconds: The time limit.

    Raises:
        PluginFault: It exceeded the time limit, returned a value, or raised an exception that
            would end the process or the task.
        Exception: Whatever else the plugin raises.
    """
    task = asyncio.create_task(run_checked(work))
    await join(task, seconds)


async def join(task: asyncio.Task[Any], seconds: float) -> None:
    """Await a task of a plugin's, and cancel or abandon it after `seconds`.

    Raises:
        PluginFault: It exceeded the time limit, or cancelled itself.
        Exception: Whatever the task raises.
    """
    task.add_done_callback(_forget)
    try:
        done, _ = await asyncio.wait({task}, timeout=seconds)
        if not done:
            await cancel(task)
            raise PluginFault(f"it took longer than {seconds:g} s")
    finally:
        if not task.done():
            task.cancel()
            _abandoned.add(task)
    if task.cancelled():
        # Nobody outside has cancelled it: the wait has ended, and the task was done.
        raise PluginFault("it cancelled its own task")
    task.result()


async def cancel(task: asyncio.Task[Any]) -> None:
    """Cancel a task of a plugin's, and abandon it if it does not end in the grace period."""
    _abandoned.add(task)
    task.add_done_callback(_forget)
    task.cancel()
    done, _ = await asyncio.wait({task}, timeout=GRACE_SECONDS)
    if not done:
        logger.error("plugin goes on after its time limit and is abandoned")


def _forget(task: asyncio.Task[Any]) -> None:
    _abandoned.discard(task)
    retrieve_error(task)


async def run_checked(work: Coroutine[Any, Any, object]) -> None:
    """Await a plugin's coroutine.

    Args:
        work: The coroutine. It must return None.

    Raises:
        PluginFault: It returned a value, or raised what would end the process or the task.
        Exception: Whatever else the plugin raises.
    """
    value = await contain(work)
    if value is not None:
        if inspect.iscoroutine(value):
            value.close()
        raise PluginFault(f"it returned {type(value).__name__}, and a plugin returns nothing")


async def contain(work: Coroutine[Any, Any, object]) -> object:
    """Await the coroutine, and return its value.

    Raises:
        PluginFault: The coroutine raised what would end the process or its own task.
        Exception: Whatever else it raises.
    """
    try:
        return await work
    except (Exception, KeyboardInterrupt):
        raise
    except BaseException as error:
        task = asyncio.current_task()
        if isinstance(error, asyncio.CancelledError) and task is not None and task.cancelling():
            raise  # it was cancelled from outside
        raise PluginFault(f"it raised {type(error).__name__}") from error


def log_failure(plugin_name: str, error: Exception) -> str:
    """Log a plugin's failure, and return the text that is stored of it.

    A plugin that raises `Retry` waits for something and is run again, so it is logged as INFO.

    Args:
        plugin_name: The name of the plugin.
        error: What it raised.

    Returns:
        The text of :func:`failure_summary`.
    """
    summary = failure_summary(error)
    if isinstance(error, Retry):
        logger.info("plugin asked to retry", extra={"plugin": plugin_name, "error": summary})
        return summary
    # The summary of our own errors and of the Stripe SDK's errors says all that may be logged:
    # the text of the latter may hold personal data. Other errors need their traceback.
    is_known = isinstance(error, DatalayerStripeError) or error_summary(error) is not None
    logger.error(
        "plugin failed",
        extra={"plugin": plugin_name, "error": summary},
        exc_info=None if is_known else error,
    )
    return summary


def log_deferral(plugin_name: str, error: Defer | RateLimited) -> float:
    """Log that a plugin's work on an event is deferred, and return the seconds until it is due.

    Args:
        plugin_name: The name of the plugin.
        error: What it raised: `Defer`, or the error of a call to Stripe that was one too many.
    """
    if isinstance(error, Defer):
        reason, seconds = error.reason, error.delay
    else:
        reason, seconds = error.message, min(error.retry_after or 0, Defer.MAX_DELAY_SECONDS)
    logger.info("plugin deferred the event", extra={"plugin": plugin_name, "reason": reason})
    return seconds


def failure_summary(error: Exception) -> str:
    """Return what may be stored and shown of a plugin's failure.

    Returns:
        The plugin's own words for `Retry` and `Reject`; else the kind of the error and the line
        that raised it. The text of an unknown error is left out: it may hold a token or personal
        data.
    """
    if isinstance(error, PluginSignal):
        return error.reason
    if isinstance(error, PluginFault):
        return str(error)
    frames: list[traceback.FrameSummary] = traceback.extract_tb(error.__traceback__)
    at_stripe = error_summary(error)
    if at_stripe is not None:
        frames = [frame for frame in frames if not is_sdk_file(frame.filename)]
        at_stripe += ","
    place = f" at {Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else ""
    return f"{at_stripe or type(error).__name__}{place}"
