"""The plugins of a service: which of them run on an event type, and in which order."""

import difflib
from collections.abc import Collection, Iterable
from itertools import groupby
from pathlib import Path
from typing import Any

from ..errors import Fault, PluginError, SettingsError
from ..events import unknown_type_warning
from ..settings import variable
from .definition import Plugin
from .loading import load_plugins

DISABLED_VARIABLE = variable("stripe_plugins_disabled")

Stage = tuple[Plugin[Any], ...]
"""Plugins of one event that run concurrently."""


class Registry:
    """The plugins of a service, by event type and in order. A registry never changes.

    Args:
        plugins: All plugins, in any order. They are frozen.
        disabled: The names of plugins that must not run.

    Raises:
        PluginError: Two plugins have one name.
        SettingsError: A disabled name is the name of no plugin.
    """

    def __init__(self, plugins: Iterable[Plugin[Any]], *, disabled: Collection[str] = ()) -> None:
        known = sorted(plugins, key=_sort_key)
        _check_names(known)
        if faults := unknown_names(known, disabled):
            raise SettingsError(faults)
        self.plugins = tuple(plugin for plugin in known if plugin.name not in disabled)
        self.disabled = tuple(plugin for plugin in known if plugin.name in disabled)
        self._by_type: dict[str, tuple[Plugin[Any], ...]] = {}
        for plugin in self.plugins:
            plugin.freeze()
            for event_type in plugin.types:
                self._by_type[event_type] = (*self._by_type.get(event_type, ()), plugin)
        self._stages = {name: _in_stages(chosen) for name, chosen in self._by_type.items()}

    @classmethod
    def load(cls, folder: Path | None = None, disabled: Collection[str] = ()) -> "Registry":
        """Return a registry of the installed plugins, and of those in the files of a folder.

        Args:
            folder: A folder of Python files, or None.
            disabled: The names of plugins that must not run.

        Raises:
            PluginError: A plugin cannot be loaded, or two have one name.
            SettingsError: A disabled name is the name of no plugin.
        """
        return cls(load_plugins(folder), disabled=disabled)

    @property
    def types(self) -> tuple[str, ...]:
        """The event types that a plugin runs on: those that the webhook endpoint must be sent."""
        return tuple(sorted(self._by_type))

    def plugins_for(self, event_type: str) -> tuple[Plugin[Any], ...]:
        """Return the plugins that run on exactly this event type, in order."""
        return self._by_type.get(event_type, ())

    def stages_for(self, event_type: str, *, without: Collection[str] = ()) -> tuple[Stage, ...]:
        """Return the plugins that run on this event type, in stages.

        Args:
            event_type: The event type.
            without: The names of plugins to leave out.

        Returns:
            The stages in order. The stages of plugins that move money come first.
        """
        if not without:
            return self._stages.get(event_type, ())
        return _in_stages(one for one in self.plugins_for(event_type) if one.name not in without)

    def money_on(self, event_type: str) -> frozenset[str]:
        """Return the names of the plugins that move money on this event type."""
        return frozenset(one.name for one in self.plugins_for(event_type) if one.moves_money)

    def named(self, name: str) -> Plugin[Any] | None:
        """Return the plugin of this name, or None if there is none or it is disabled."""
        return next((plugin for plugin in self.plugins if plugin.name == name), None)

    @property
    def disabled_money_plugins(self) -> tuple[str, ...]:
        """The names of the plugins that move money and are disabled."""
        return tuple(plugin.name for plugin in self.disabled if plugin.moves_money)

    @property
    def unknown_type_warnings(self) -> tuple[str, ...]:
        """A warning for each function whose event type Stripe does not have: it never runs."""
        return tuple(
            f"The plugin {plugin.name} runs on {event_type}: {warning}"
            for plugin in self.plugins
            for event_type in plugin.types
            if (warning := unknown_type_warning(event_type))
        )


def _in_stages(plugins: Iterable[Plugin[Any]]) -> tuple[Stage, ...]:
    """Return plugins, which are in order, in their stages."""
    return tuple(tuple(stage) for _, stage in groupby(plugins, _stage))


def unknown_names(plugins: Iterable[Plugin[Any]], disabled: Iterable[str]) -> list[Fault]:
    """Return a fault for each disabled name that is the name of no plugin."""
    names = [plugin.name for plugin in plugins]
    return [
        Fault(DISABLED_VARIABLE, f"there is no plugin {name}", _suggestion(name, names))
        for name in disabled
        if name not in names
    ]


def _suggestion(name: str, names: list[str]) -> str:
    near = difflib.get_close_matches(name, names, n=1)
    hint = f"Did you mean {near[0]}? " if near else ""
    return f"{hint}`datalayer-stripe plugins list` shows all names."


def _check_names(plugins: Iterable[Plugin[Any]]) -> None:
    known: dict[str, Plugin[Any]] = {}
    for plugin in plugins:
        if other := known.get(plugin.name):
            raise PluginError(
                f"Two plugins are named {plugin.name!r}, from {other.origin} and from "
                f"{plugin.origin}: rename one, or remove it."
            )
        known[plugin.name] = plugin


def _stage(plugin: Plugin[Any]) -> tuple[bool, int]:
    # Plugins that move money come first, whatever order the others have.
    return not plugin.moves_money, plugin.order


def _sort_key(plugin: Plugin[Any]) -> tuple[bool, int, str]:
    return (*_stage(plugin), plugin.name)
