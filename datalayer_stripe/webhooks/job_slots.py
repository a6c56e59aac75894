"""Slots for the deferred jobs of one process. Plugins that hang leave slots to the others."""

from collections import Counter

from ..plugin_api.registry import Registry

MAX_CONCURRENT_JOBS = 16
"""Slots for the jobs that one process runs at once."""
MAX_CONCURRENT_JOBS_PER_PLUGIN = 4
"""Maximum number of slots that the jobs of one plugin may use."""
RESERVED_FOR_MONEY = 4
"""Slots that only the jobs of plugins that move money may use."""


class JobSlots:
    """Counts the slots in use, by plugin.

    Args:
        registry: The plugins.
    """

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._money_plugins = [one.name for one in registry.plugins if one.moves_money]
        self._in_use: Counter[str] = Counter()

    def has_free(self, plugin_name: str) -> bool:
        """Return whether one more job of a plugin may run.

        A plugin may use half as many slots as there are free ones for it. So several plugins that
        hang leave slots to the others.

        Args:
            plugin_name: The plugin. Jobs of a plugin that this process does not have never run
                here: they wait for a process that has it.
        """
        plugin = self._registry.named(plugin_name)
        if plugin is None:
            return False
        in_use = self._in_use[plugin_name]
        free = self._free(moves_money=plugin.moves_money)
        return in_use < MAX_CONCURRENT_JOBS_PER_PLUGIN and 2 * in_use < free

    def acquire(self, plugin_name: str) -> None:
        """Take a slot for a job of a plugin, for which :meth:`has_free` was true."""
        self._in_use[plugin_name] += 1

    def release(self, plugin_name: str) -> None:
        """Return a slot of a plugin."""
        self._in_use[plugin_name] -= 1

    def _free(self, *, moves_money: bool) -> int:
        free = MAX_CONCURRENT_JOBS - self._in_use.total()
        if moves_money:
            return free
        for_money = sum(self._in_use[name] for name in self._money_plugins)
        others = self._in_use.total() - for_money
        return min(free, MAX_CONCURRENT_JOBS - RESERVED_FOR_MONEY - others)
