"""Start the plugins before the first event, and stop them after the last."""

import logging
from typing import Any

from ..errors import PluginError
from ..webhooks.runner import run_isolated, summary
from .context import ContextFactory
from .definition import Plugin
from .registry import Registry

logger = logging.getLogger(__name__)

START_SECONDS = 10.0
# Kubernetes kills 30 s after SIGTERM, and requests and deliveries come before.
STOP_SECONDS = 3.0


class Lifecycle:
    """Runs the hooks of a service's plugins, one after the other."""

    def __init__(self, registry: Registry, contexts: ContextFactory) -> None:
        self._registry = registry
        self._contexts = contexts
        self._started: list[Plugin[Any]] = []

    async def start(self) -> None:
        """Run each `on_start`, in the plugins' order.

        Raises PluginError, which names the plugin, for one that fails or takes too long.
        """
        for plugin in self._registry.plugins:
            # Also after a start that has failed half-way there may be something to close.
            self._started.append(plugin)
            if plugin.start_hook is None:
                continue
            work = plugin.start_hook(self._contexts.make_for_hook(plugin))
            try:
                await run_isolated(work, START_SECONDS)
            except Exception as error:
                logger.error("on_start failed", extra={"plugin": plugin.name}, exc_info=error)
                raise PluginError(
                    f"Plugin {plugin.name} ({plugin.origin}) cannot start: {summary(error)}. "
                    "Mend it, or switch it off: "
                    f"DATALAYER_STRIPE_PLUGINS_DISABLED={plugin.name}"
                ) from error

    async def stop(self) -> None:
        """Run the `on_stop` of those that were started, the last first; errors are logged."""
        while self._started:
            plugin = self._started.pop()
            if plugin.stop_hook is None:
                continue
            try:
                await run_isolated(
                    plugin.stop_hook(self._contexts.make_for_hook(plugin)), STOP_SECONDS
                )
            except Exception as error:
                logger.error("on_stop failed", extra={"plugin": plugin.name}, exc_info=error)
