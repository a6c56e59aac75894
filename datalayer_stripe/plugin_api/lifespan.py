"""Open what plugins need before the first event, and close it after the last."""

import asyncio
import logging
from collections.abc import AsyncGenerator
from contextlib import suppress
from typing import Any, cast

from ..errors import PluginError, PluginFault
from .context import ContextFactory, LifespanContext
from .definition import Plugin, PluginLifespan
from .isolation import cancel, contain, failure_summary, join
from .registry import DISABLED_VARIABLE, Registry

logger = logging.getLogger(__name__)

START_SECONDS = 10.0
"""How long a plugin may take to open what it needs."""
# Kubernetes kills a process 30 s after SIGTERM, and requests and deliveries are finished first.
STOP_SECONDS = 3.0
"""How long a plugin may take to close it."""


class Lifespans:
    """Runs the lifespans of a service's plugins, one after the other."""

    def __init__(self, registry: Registry, contexts: ContextFactory) -> None:
        self._registry = registry
        self._contexts = contexts
        self._started: list[tuple[Plugin[Any], _Lifespan]] = []

    async def start(self) -> None:
        """Open each lifespan, in the order of the plugins.

        Raises:
            PluginError: A plugin has failed or taken too long. The message names it.
        """
        for plugin in self._registry.plugins:
            if plugin.lifespan_function is None:
                continue
            context = self._contexts.make_for_lifespan(plugin.name)
            try:
                lifespan = _Lifespan(plugin.name, plugin.lifespan_function, context)
                self._contexts.states[plugin.name] = await lifespan.open()
            except Exception as error:
                logger.error("plugin cannot start", extra={"plugin": plugin.name}, exc_info=error)
                raise PluginError(
                    f"Plugin {plugin.name} ({plugin.origin}) cannot start: "
                    f"{failure_summary(error)}. Fix it, or disable it: "
                    f"{DISABLED_VARIABLE}={plugin.name}"
                ) from error
            self._started.append((plugin, lifespan))

    async def stop(self) -> None:
        """Close the open lifespans, the last one first; log errors."""
        while self._started:
            plugin, lifespan = self._started.pop()
            self._contexts.states.pop(plugin.name, None)
            try:
                await lifespan.close()
            except Exception as error:
                logger.error("plugin cannot stop", extra={"plugin": plugin.name}, exc_info=error)


class _Lifespan:
    """One lifespan. It runs in one task, as task groups and timeouts require."""

    def __init__(
        self,
        plugin_name: str,
        function: PluginLifespan[Any],
        context: LifespanContext[Any],
    ) -> None:
        self._plugin_name = plugin_name
        self._generator = cast("AsyncGenerator[Any, None]", function(context))
        self._state: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._closing = asyncio.Event()
        self._task: asyncio.Task[object] | None = None

    async def open(self) -> Any:
        """Run the lifespan to its `yield`, and return what it yields.

        Raises:
            PluginFault: It takes too long, or raises what would end the process.
            Exception: Whatever else it raises.
        """
        self._task = asyncio.create_task(contain(self._run()))
        try:
            await asyncio.wait(
                {self._task, self._state},
                timeout=START_SECONDS,
                return_when=asyncio.FIRST_COMPLETED,
            )
        except asyncio.CancelledError:
            self._closing.set()
            await cancel(self._task)
            raise
        if self._state.done():
            self._task.add_done_callback(self._log_early_end)
            return self._state.result()
        # If it yields after all, it is closed at once.
        self._closing.set()
        if self._task.done():
            await join(self._task, STOP_SECONDS)  # raises what it raised
        else:
            await cancel(self._task)
        raise PluginFault(f"it took longer than {START_SECONDS:g} s")

    async def close(self) -> None:
        """Run the lifespan to its end.

        Raises:
            PluginFault: It takes too long, or raises what would end the process.
            Exception: Whatever else it raises.
        """
        if self._task is None or self._task.done():
            return  # its early end is in the log
        self._closing.set()
        await join(self._task, STOP_SECONDS)

    def _log_early_end(self, task: asyncio.Task[object]) -> None:
        """Log that what the plugin has opened is closed while the service runs."""
        if self._closing.is_set():
            return
        error = None if task.cancelled() else task.exception()
        logger.error(
            "plugin's lifespan ended while the service runs",
            extra={"plugin": self._plugin_name},
            exc_info=error,
        )

    async def _run(self) -> None:
        """Run to the `yield`, wait until the service closes, and run to the end."""
        try:
            state = await anext(self._generator)
        except StopAsyncIteration:
            raise PluginFault("its lifespan ended before it yielded") from None
        self._state.set_result(state)
        try:
            await self._closing.wait()
        except BaseException as error:
            # The plugin's context managers see why they are closed.
            with suppress(StopAsyncIteration):
                await self._generator.athrow(error)
            raise
        try:
            await anext(self._generator)
        except StopAsyncIteration:
            return
        await self._generator.aclose()
        raise PluginFault("its lifespan yielded more than once")
