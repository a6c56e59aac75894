"""End asyncio tasks, and retrieve the errors of tasks that several callers await."""

import asyncio
from typing import Any

# Longer than a task usually cleans up: the release of a lease must not be cut. Several
# cancellations in a row may be lost, so that it must be far below the time that a stop may take.
_CANCEL_AGAIN_SECONDS = 2.0


async def cancel_and_wait(*tasks: asyncio.Task[Any]) -> None:
    """Cancel tasks, and wait until all have ended.

    A task that still runs after a second is cancelled again. `asyncio.wait_for` of Python 3.11,
    which PyMongo calls, loses a cancellation that arrives together with its result:
    https://github.com/python/cpython/issues/86296.

    Args:
        tasks: The tasks. Their results and errors are ignored.
    """
    pending = {task for task in tasks if not task.done()}
    while pending:
        for task in pending:
            task.cancel()
        _, pending = await asyncio.wait(pending, timeout=_CANCEL_AGAIN_SECONDS)


def retrieve_error(task: asyncio.Future[Any]) -> None:
    """Mark the error of a task as retrieved.

    Use it as the task's `add_done_callback`, if all callers may be cancelled before the task ends.
    Otherwise asyncio logs the error.

    Args:
        task: The task, which has ended.
    """
    if not task.cancelled():
        task.exception()
