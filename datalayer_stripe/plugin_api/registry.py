"""Which plugins run on which event type, in which order."""

import difflib
from collections.abc import Collection, Iterable
from itertools import groupby
from pathlib import Path
from typing import Any

from ..errors import PluginError
from ..events import unknown_type_warning
from ..settings import Fault, SettingsError
from .definition import Plugin
from .loading import load_plugins

DISABLED_VARIABLE = "DATALAYER_STRIPE_PLUGINS_DISABLED"

Stage = tuple[Plugin[Any], ...]
"""Plugins of one event that run at once."""


class Registry:
    """The plugins of a running service: event type → plugins, in order. It never changes."""

    def __init__(self, plugins: Iterable[Plugin[Any]], *, disabled: Collection[str] = ()) -> None:
        """Keep the plugins, `disabled` ones aside.

        Raises PluginError for two of one name, SettingsError for a disabled one that is unknown.
        """
        known = sorted(plugins, key=_place)
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

    @classmethod
    def load(cls, folder: Path | None = None, disabled: Collection[str] = ()) -> "Registry":
        """The plugins of installed distributions, and those of a folder's files.

        Raises PluginError for one that cannot be loaded: money is not best-effort.
        """
        return cls(load_plugins(folder), disabled=disabled)

    @property
    def types(self) -> tuple[str, ...]:
        """The event types that have a plugin: what to send to the webhook endpoint."""
        return tuple(sorted(self._by_type))

    def plugins_for(self, event_type: str) -> tuple[Plugin[Any], ...]:
        """The plugins that run on exactly this type, in order."""
        return self._by_type.get(event_type, ())

    def stages_for(self, event_type: str, *, without: Collection[str] = ()) -> tuple[Stage, ...]:
        """The same, those that run at once together: money first, and then order by order.

        `without` names plugins to leave out.
        """
        plugins = [one for one in self.plugins_for(event_type) if one.name not in without]
        return tuple(tuple(stage) for _, stage in groupby(plugins, _stage))

    def money_on(self, event_type: str) -> frozenset[str]:
        """The names of those that move money on this type."""
        return frozenset(one.name for one in self.plugins_for(event_type) if one.moves_money)

    def named(self, name: str) -> Plugin[Any] | None:
        """The plugin of this name; None where there is none, or it is switched off."""
        return next((plugin for plugin in self.plugins if plugin.name == name), None)

    @property
    def disabled_money_plugins(self) -> tuple[str, ...]:
        """The names of those that move money and are switched off."""
        return tuple(plugin.name for plugin in self.disabled if plugin.moves_money)

    @property
    def unknown_type_warnings(self) -> tuple[str, ...]:
        """A line for each event type that Stripe does not have: such a function never runs."""
        return tuple(
            f"The plugin {plugin.name} runs on {event_type}: {doubt}"
            for plugin in self.plugins
            for event_type in plugin.types
            if (doubt := unknown_type_warning(event_type))
        )


def unknown_names(plugins: Iterable[Plugin[Any]], disabled: Iterable[str]) -> list[Fault]:
    """A fault for each name that is to be switched off and is no plugin's."""
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
    # Money comes first, whatever order others give themselves.
    return not plugin.moves_money, plugin.order


def _place(plugin: Plugin[Any]) -> tuple[bool, int, str]:
    return (*_stage(plugin), plugin.name)
