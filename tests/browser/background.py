"""Event loop in a background thread, for the service while a test controls the browser."""

import asyncio
import inspect
import threading
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from datalayer_stripe.tasks import cancel_and_wait, retrieve_error

STEP_TIMEOUT = 120.0
"""Seconds after which a step fails. A busy machine needs several for a slow step."""

T = TypeVar("T")


class Background:
    """Background thread that runs coroutines, and functions that are not thread-safe."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="service")
        self._thread.start()

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine and return its result."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(STEP_TIMEOUT)

    def call(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Call a function in the loop and return its result, awaited if it is awaitable."""

        async def called() -> Any:
            result = function(*args, **kwargs)
            return await result if inspect.isawaitable(result) else result

        return self.run(called())

    def close(self) -> None:
        """Cancel all tasks and stop the thread."""
        self.run(_cancel_others())
        self.run(self._loop.shutdown_asyncgens())
        self.run(self._loop.shutdown_default_executor())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


async def _cancel_others() -> None:
    tasks = asyncio.all_tasks() - {asyncio.current_task()}
    for task in tasks:
        task.add_done_callback(retrieve_error)
    await cancel_and_wait(*tasks)
