"""Read the settings, the plugins and the plugins' own settings from the environment.

All faults are reported together, one line for each.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self
from urllib.parse import unquote, urlsplit

from pydantic import BaseModel, SecretStr

from .errors import Fault, PluginError, SettingsError
from .plugin_api.loading import FOLDER_VARIABLE, load_plugins
from .plugin_api.registry import DISABLED_VARIABLE, Registry, unknown_names
from .plugin_api.settings import read_plugin_settings
from .redaction import protect_secrets
from .secret_files import Environment
from .settings import Settings, read_environment, variable
from .settings_checks import unquoted

PluginSettings = Mapping[str, BaseModel]
"""The settings of the plugins that have settings, by plugin name."""


@dataclass(frozen=True)
class PluginSources:
    """Where plugins are loaded from, in addition to the installed ones, and which are disabled.

    Attributes:
        folder: A folder with plugin files, or None.
        disabled: The names of the disabled plugins.
    """

    folder: Path | None
    disabled: tuple[str, ...]

    @classmethod
    def from_environment(cls, environ: Mapping[str, str] | None = None) -> Self:
        """Read the two variables of the plugins. No other variable needs to be set.

        Args:
            environ: The environment variables; by default those of the process.
        """
        environ = read_environment(environ).values
        folder = unquoted(environ.get(FOLDER_VARIABLE, ""))
        names = map(unquoted, environ.get(DISABLED_VARIABLE, "").split(","))
        return cls(Path(folder) if folder else None, tuple(filter(None, names)))

    def load(self) -> Registry:
        """Load the plugins.

        Raises:
            PluginError: A plugin cannot be loaded.
            SettingsError: A disabled plugin does not exist.
        """
        return Registry.load(self.folder, self.disabled)


@dataclass(frozen=True)
class Configuration:
    """The arguments of :func:`.composition.open_service`."""

    settings: Settings
    registry: Registry
    plugin_settings: PluginSettings


@dataclass(frozen=True)
class Attempt:
    """What could be read from the environment, and what is wrong with the rest.

    Attributes:
        settings: The settings, or None if they are not valid.
        registry: The plugins, or None if they cannot be loaded, or if it is not valid which of
            them are selected.
        plugin_settings: The plugins' own settings, as far as they are valid.
        faults: All faults of settings.
        plugin_error: Why the plugins cannot be loaded, or None.
    """

    settings: Settings | None
    registry: Registry | None
    plugin_settings: PluginSettings
    faults: Sequence[Fault]
    plugin_error: PluginError | None


def read_configuration(
    kind: type[Settings] = Settings, *, running_plugins: bool = True, **overrides: Any
) -> Configuration:
    """Read the configuration from the environment variables of the process and secret files.

    From then on, the log contains none of its secrets.

    Args:
        kind: The class of the settings.
        running_plugins: Whether plugins will run. If not, their own settings are not read.
        **overrides: Fields of `kind` that replace the values of the environment.

    Raises:
        PluginError: A plugin cannot be loaded.
        SettingsError: Settings are missing or not valid. The error has all faults.
    """
    found = try_configuration(kind, running_plugins=running_plugins, **overrides)
    if found.plugin_error is not None:
        raise found.plugin_error
    if found.settings is None or found.registry is None or found.faults:
        raise SettingsError(found.faults)
    return Configuration(found.settings, found.registry, found.plugin_settings)


def try_configuration(
    kind: type[Settings] = Settings, *, running_plugins: bool = True, **overrides: Any
) -> Attempt:
    """Read what can be read, as :func:`read_configuration`, and raise no error.

    Args:
        kind: The class of the settings.
        running_plugins: Whether plugins will run. If not, their own settings are not read.
        **overrides: Fields of `kind` that replace the values of the environment.
    """
    environment = read_environment(folder=overrides.get(variable("stripe_secrets_dir")))
    faults: list[Fault] = []
    settings: Settings | None = None
    sources = PluginSources.from_environment()
    try:
        settings = kind.from_environment(**overrides)
        sources = PluginSources(settings.stripe_plugins_dir, settings.stripe_plugins_disabled)
    except SettingsError as error:
        faults += error.faults
    wrong = {fault.variable for fault in faults}
    registry: Registry | None = None
    plugin_settings: PluginSettings = {}
    plugin_error: PluginError | None = None
    try:
        registry, plugin_settings, plugin_faults = _try_plugins(
            sources, wrong, environment, running_plugins=running_plugins
        )
        faults += plugin_faults
    except PluginError as error:
        plugin_error = error
    models = filter(None, (settings, *plugin_settings.values()))
    protect_secrets(_secrets_in(models))
    return Attempt(settings, registry, plugin_settings, faults, plugin_error)


def _try_plugins(
    sources: PluginSources,
    wrong: Collection[str],
    environment: Environment,
    *,
    running_plugins: bool,
) -> tuple[Registry | None, PluginSettings, list[Fault]]:
    """Load the plugins and read their settings.

    Args:
        sources: Where they are loaded from.
        wrong: The variables with a fault.
        environment: The values of all variables.
        running_plugins: Whether plugins will run. If not, their own settings are not read.

    Returns:
        The plugins, or None if it is not valid which of them are selected; their settings; and the
        faults of both.

    Raises:
        PluginError: A plugin cannot be loaded.
    """
    plugins = load_plugins(None if FOLDER_VARIABLE in wrong else sources.folder)
    # Otherwise the names could be those of plugins in the folder, or hold a secret.
    is_selected = not set(wrong) & {FOLDER_VARIABLE, DISABLED_VARIABLE}
    faults = unknown_names(plugins, sources.disabled) if is_selected else []
    is_selected = is_selected and not faults
    plugin_settings: PluginSettings = {}
    if running_plugins:
        enabled = [plugin for plugin in plugins if plugin.name not in sources.disabled]
        plugin_settings, plugin_faults = read_plugin_settings(enabled, environment.values)
        faults += environment.located(plugin_faults)
    registry = Registry(plugins, disabled=sources.disabled) if is_selected else None
    return registry, plugin_settings, faults


# In the URL of a database only the password is secret. Messages name the host, or memory://.
_DATABASE_SCHEMES = ("mongodb://", "mongodb+srv://", "memory://")


def _secrets_in(models: Iterable[object]) -> Iterator[str]:
    """Yield all secrets of settings, and the passwords of URLs among them."""
    for model in models:
        for value in vars(model).values():
            for one in value if isinstance(value, tuple) else (value,):
                if isinstance(one, SecretStr):
                    secret = one.get_secret_value()
                    if not secret.startswith(_DATABASE_SCHEMES):
                        yield secret
                    if password := _password_in(secret):
                        yield from {password, unquote(password)}


def _password_in(text: str) -> str | None:
    try:
        return urlsplit(text).password
    except ValueError:  # not a URL
        return None
