"""MongoDB client for the plugins' own collections, with a separate thread pool.

Motor runs every call in a thread, and all its clients in a process share one pool of five threads
per core. A few slow queries of plugins in that pool would block the commits of credits.
"""

import asyncio
import contextvars
from collections import defaultdict
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, TypeVar

from motor.core import AgnosticClient
from motor.frameworks import asyncio as asyncio_framework
from motor.metaprogramming import create_class_with_framework

# The number of threads for all plugins together. They are started when they are needed.
PLUGIN_THREADS = 32

# Limits the concurrent reads of one plugin in a process. Its other reads wait.
MAX_PLUGIN_READS = 4

R = TypeVar("R")


class _PluginFramework:
    """Motor's asyncio framework with another thread pool.

    Motor creates its classes for a framework, which runs their calls:
    https://motor.readthedocs.io/en/stable/developer-guide.html#frameworks
    """

    def __init__(self, max_workers: int) -> None:
        self._executor = ThreadPoolExecutor(max_workers, thread_name_prefix="plugin-mongodb")

    def __getattr__(self, name: str) -> Any:
        return getattr(asyncio_framework, name)

    def run_on_executor(
        self, loop: asyncio.AbstractEventLoop, call: Callable[..., R], *args: Any, **options: Any
    ) -> asyncio.Future[R]:
        """Run a call of the driver in a thread, with the context variables of the caller.

        Args:
            loop: The event loop.
            call: The function to run.
            args: Its positional arguments.
            options: Its keyword arguments.
        """
        context = contextvars.copy_context()
        return loop.run_in_executor(self._executor, partial(context.run, call, *args, **options))


# At module level like Motor's own classes: Motor caches the classes that it creates.
PluginMotorClient: Any = create_class_with_framework(
    AgnosticClient, _PluginFramework(PLUGIN_THREADS), __name__
)


class PluginReads:
    """Limits the concurrent reads of each collection.

    Args:
        max_reads: The number of concurrent reads of one collection.
    """

    def __init__(self, max_reads: int = MAX_PLUGIN_READS) -> None:
        self._slots: defaultdict[str, asyncio.Semaphore] = defaultdict(
            lambda: asyncio.Semaphore(max_reads)
        )

    async def run(self, collection: str, read: Callable[[], Awaitable[R]]) -> R:
        """Wait until fewer reads of the collection are running, and return what `read` returns.

        If the caller is cancelled, the read continues in its thread, and counts until it ends.

        Args:
            collection: The name of the collection.
            read: Reads from the collection.
        """
        slots = self._slots[collection]
        await slots.acquire()
        reading = asyncio.ensure_future(read())

        def ended(done: asyncio.Future[R]) -> None:
            slots.release()
            if not done.cancelled():
                done.exception()  # Otherwise asyncio logs it if the caller was cancelled.

        reading.add_done_callback(ended)
        return await asyncio.shield(reading)
