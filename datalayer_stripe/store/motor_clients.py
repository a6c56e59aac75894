"""Motor's clients of the service and of the plugins, with a thread pool for each.

Motor runs every call in a thread, and all its clients in a process share one pool of five threads
per core. A few slow queries of plugins in that pool would block the commits of credits, and so
would another user of Motor in the same Jupyter Server. PyMongo's asyncio client has no threads.
"""

import asyncio
import contextvars
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, TypeVar

from motor.core import AgnosticClient
from motor.frameworks import asyncio as asyncio_framework
from motor.metaprogramming import create_class_with_framework

from .driver import MAX_CONNECTIONS

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
