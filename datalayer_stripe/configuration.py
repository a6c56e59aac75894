"""All that an operator has set, read once: settings, plugins, and the plugins' own settings.

What is wrong with any of them is said together, a line for each fault.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from pydantic import BaseModel

from .errors import Fault, SettingsError
from .plugin_api.loading import FOLDER_VARIABLE, load_plugins
from .plugin_api.registry import DISABLED_VARIABLE, Registry, unknown_names
from .plugin_api.settings import read_plugin_settings
from .settings import Settings
from .settings_checks import unquoted

PluginSettings = Mapping[str, BaseModel]
"""The settings of each plugin that has any, by its name."""


@dataclass(frozen=True)
class PluginSources:
    """Where plugins are looked for beside the installed ones, and which are switched off."""

    folder: Path | None
    disabled: tuple[str, ...]

    @classmethod
    def from_environment(cls, environ: Mapping[str, str] = os.environ) -> Self:
        """Read the two variables alone, which also count where the others are not set."""
        folder = unquoted(environ.get(FOLDER_VARIABLE, ""))
        names = map(unquoted, environ.get(DISABLED_VARIABLE, "").split(","))
        return cls(Path(folder) if folder else None, tuple(filter(None, names)))

    def load(self) -> Registry:
        """Raises PluginError for what cannot be loaded, SettingsError for an unknown name."""
        return Registry.load(self.folder, self.disabled)


@dataclass(frozen=True)
class Configuration:
    """What :func:`.service.open_service` is given."""

    settings: Settings
    registry: Registry
    plugin_settings: PluginSettings


def read_configuration(
    kind: type[Settings] = Settings, *, running_plugins: bool = True, **overrides: Any
) -> Configuration:
    """Read the variables of the process.

    Args:
        kind: the class of the settings.
        running_plugins: whether plugins are to run, and so need their own settings.
        overrides: fields of `kind`, which win over the variables.

    Raises:
        PluginError: if a plugin cannot be loaded.
        SettingsError: with every other fault.
    """
    faults: list[Fault] = []
    settings: Settings | None = None
    sources = PluginSources.from_environment()
    try:
        settings = kind.from_environment(**overrides)
        sources = PluginSources(settings.stripe_plugins_dir, settings.stripe_plugins_disabled)
    except SettingsError as error:
        faults += error.faults
    folder_is_wrong = any(fault.variable == FOLDER_VARIABLE for fault in faults)
    plugins = load_plugins(None if folder_is_wrong else sources.folder)
    if not folder_is_wrong:  # whose files may have the names
        faults += unknown_names(plugins, sources.disabled)
    switched_on = [plugin for plugin in plugins if plugin.name not in sources.disabled]
    plugin_settings: PluginSettings = {}
    if running_plugins:
        plugin_settings, wrong = read_plugin_settings(switched_on, os.environ)
        faults += wrong
    if settings is None or faults:
        raise SettingsError(faults)
    return Configuration(settings, Registry(plugins, disabled=sources.disabled), plugin_settings)
