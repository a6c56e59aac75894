"""Share a read between all callers that have come before it starts."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

from ..tasks import retrieve_error

T = TypeVar("T")


class SharedReads(Generic[T]):
    """Reads of objects by their id, each shared by its callers until it starts.

    A read may wait before it starts, for example for a permit. Callers that come in this time wait
    for the same read, because it will see all changes before it. A read that has started is not
    shared with later callers: it may miss the change that a later caller has come for.

    Args:
        read: Reads an object. It gets the id and a function that it calls just before it starts.
    """

    def __init__(self, read: Callable[[str, Callable[[], None]], Awaitable[T]]) -> None:
        self._read = read
        self._waiting: dict[str, asyncio.Task[T]] = {}

    async def get(self, object_id: str) -> T:
        """Return the object as it is after this call, or later.

        Args:
            object_id: The id of the object.

        Raises:
            Exception: What the read raises.
        """
        task = self._waiting.get(object_id)
        if task is None:
            task = asyncio.create_task(self._run(object_id))
            self._waiting[object_id] = task
            task.add_done_callback(retrieve_error)
        # A caller that is cancelled does not cancel the read of the others.
        return await asyncio.shield(task)

    async def _run(self, object_id: str) -> T:
        task = asyncio.current_task()

        def close() -> None:
            if self._waiting.get(object_id) is task:
                del self._waiting[object_id]

        try:
            return await self._read(object_id, close)
        finally:
            close()
