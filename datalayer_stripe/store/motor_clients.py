"""Motor's clients of the service and of the plugins, with a thread pool for each.

Motor runs every call in a thread, and all its clients in a process share one pool of five threads
per core. A few slow queries of plugins in that pool would block the commits of credits, and so
would another user of Motor in the same Jupyter Server. PyMongo's asyncio client has no threads.
"""

import asyncio
import contextvars
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from typing import Any, TypeVar

from motor.core import AgnosticClient
from motor.frameworks import asyncio as asyncio_framework
from motor.metaprogramming import create_class_with_framework

from .driver import MAX_CONNECTIONS, DatabaseCalls

R = TypeVar("R")


class _Framework:
    """Motor's asyncio framework with another thread pool.

    Motor creates its classes for a framework, which runs their calls:
    https://motor.readthedocs.io/en/stable/developer-guide.html#frameworks

    Args:
        max_workers: The number of threads. They are started when they are needed.
        name: The first part of the threads' names.
    """

    def __init__(self, max_workers: int, name: str) -> None:
        self._executor = ThreadPoolExecutor(max_workers, thread_name_prefix=name)

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


def _client_class(thread_name: str) -> Any:
    # A thread waits for the answer on its connection. With fewer threads some connections would
    # never be used; with more, threads would wait for a connection.
    framework = _Framework(MAX_CONNECTIONS, thread_name)
    return create_class_with_framework(AgnosticClient, framework, __name__)


# At module level like Motor's own classes: Motor caches the classes that it creates.
ServiceMotorClient = _client_class("mongodb")
PluginMotorClient = _client_class("plugin-mongodb")


async def call_in_one_thread(calls: DatabaseCalls, of_motor: Any, session_of_motor: Any) -> None:
    """Make calls as :func:`.driver.call_directly`, all of them in one thread.

    A change of threads takes longer than most calls. So the calls are made with the objects of
    PyMongo that block, which Motor wraps.
    """
    future = of_motor._framework.run_on_executor(
        asyncio.get_running_loop(),
        _run_to_its_end,
        calls(of_motor.delegate, session_of_motor.delegate),
    )
    try:
        await asyncio.shield(future)
    except asyncio.CancelledError:
        while not future.done():  # the thread still uses the session
            with suppress(asyncio.CancelledError):
                await asyncio.wait([future])
        raise


def _run_to_its_end(coroutine: Coroutine[Any, Any, None]) -> None:
    """Run a coroutine that never waits for an event loop."""
    try:
        coroutine.send(None)
    except StopIteration:
        return
    coroutine.close()
    raise RuntimeError("a call in a thread must not wait for the event loop")
