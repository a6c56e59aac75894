"""The MongoDB client of the plugins' own collections, with a thread pool of its own.

Motor runs every call in a thread, and all its clients in a process share one pool of five threads
per core. Queries of plugins may take as long as they like, so they must not use that pool: a few
slow ones would keep the credits waiting for a thread.
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

# Threads for all plugins together. They are started as they are needed.
PLUGIN_THREADS = 32

# Reads that one plugin may have under way in a process. The others of its reads wait for these.
MAX_PLUGIN_READS = 4

R = TypeVar("R")


class _PluginFramework:
    """Motor's asyncio framework with another thread pool.

    A framework is what Motor's classes are made for, and what runs their calls:
    https://motor.readthedocs.io/en/stable/developer-guide.html#frameworks
    """

    def __init__(self, max_workers: int) -> None:
        self._executor = ThreadPoolExecutor(max_workers, thread_name_prefix="plugin-mongodb")

    def __getattr__(self, name: str) -> Any:
        return getattr(asyncio_framework, name)

    def run_on_executor(
        self, loop: asyncio.AbstractEventLoop, call: Callable[..., R], *args: Any, **options: Any
    ) -> asyncio.Future[R]:
        """Run a call of the driver in a thread, with the context variables of the caller."""
        context = contextvars.copy_context()
        return loop.run_in_executor(self._executor, partial(context.run, call, *args, **options))


# At the module's level, as Motor's own: Motor keeps the classes that it makes for a framework.
PluginMotorClient: Any = create_class_with_framework(
    AgnosticClient, _PluginFramework(PLUGIN_THREADS), __name__
)


class PluginReads:
    """Limits how many reads of each collection are under way at once."""

    def __init__(self, max_reads: int = MAX_PLUGIN_READS) -> None:
        self._free: defaultdict[str, asyncio.Semaphore] = defaultdict(
            lambda: asyncio.Semaphore(max_reads)
        )

    async def run(self, collection: str, read: Callable[[], Awaitable[R]]) -> R:
        """Return what `read` returns, once there is room for it.

        A read goes on in its thread when the caller is cancelled, and takes room until it ends.
        """
        free = self._free[collection]
        await free.acquire()
        reading = asyncio.ensure_future(read())

        def ended(done: asyncio.Future[R]) -> None:
            free.release()
            if not done.cancelled():
                done.exception()  # retrieve it, or asyncio logs it when nobody waits any more

        reading.add_done_callback(ended)
        return await asyncio.shield(reading)
