"""Asyncio tasks that several callers await."""

import asyncio
from typing import Any


def retrieve_error(task: asyncio.Future[Any]) -> None:
    """Mark the error of a task as retrieved.

    Use it as the task's `add_done_callback`, if all callers may be cancelled before the task ends.
    Otherwise asyncio logs the error.

    Args:
        task: The task, which has ended.
    """
    if not task.cancelled():
        task.exception()
