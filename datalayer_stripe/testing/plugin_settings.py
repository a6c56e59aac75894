"""Check the settings that a test passes for plugins, as those of the environment are checked."""

import difflib
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import BaseModel

from ..errors import KitError, SettingsError
from ..plugin_api.definition import Plugin
from ..plugin_api.settings import validated

GivenSettings = Mapping[str, Any] | BaseModel | None
"""For one plugin: its fields, or its model. For several: a mapping of plugin name to those."""


def plugin_settings(plugins: Sequence[Plugin[Any]], given: GivenSettings) -> dict[str, BaseModel]:
    """Return the settings of each plugin that has any, by its name.

    Args:
        plugins: The plugins.
        given: What the test passes.

    Raises:
        SettingsError: A setting is missing or not valid.
        KitError: There is no such plugin or field.
    """
    by_name = _by_name(plugins, given)
    settings: dict[str, BaseModel] = {}
    faults = []
    for plugin in plugins:
        values = by_name.get(plugin.name, {})
        model = plugin.settings
        if model is None:
            if values:
                raise KitError(
                    f"The plugin {plugin.name} has no settings. Declare them: "
                    "Plugin(…, settings=…)."
                )
        elif isinstance(values, model):
            settings[plugin.name] = values
        else:
            _check_fields(plugin.name, model, values)
            instance, wrong = validated(plugin.name, model, values)
            faults += wrong
            if instance is not None:
                settings[plugin.name] = instance
    if faults:
        raise SettingsError(faults)
    return settings


def _by_name(plugins: Sequence[Plugin[Any]], given: GivenSettings) -> Mapping[str, Any]:
    if given is None:
        return {}
    if len(plugins) == 1:
        return {plugins[0].name: given}
    names = [plugin.name for plugin in plugins]
    if not isinstance(given, Mapping) or any(name not in names for name in given):
        raise KitError(
            "settings: with several plugins, pass them by the plugin's name: "
            f"{{{', '.join(f'{name!r}: {{…}}' for name in names)}}}."
        )
    return given


def _check_fields(plugin_name: str, model: type[BaseModel], given: Any) -> None:
    if not isinstance(given, Mapping):
        raise KitError(
            f"settings: for {plugin_name}, pass a mapping of field to value, or a "
            f"{model.__name__}, not a {type(given).__name__}."
        )
    fields = model.model_fields
    for name in given:
        if name not in fields:
            near = difflib.get_close_matches(str(name), fields, n=1)
            hint = f"Did you mean {near[0]}?" if near else f"It has {', '.join(fields)}."
            raise KitError(f"settings: {plugin_name} has no field {name!r}. {hint}")
