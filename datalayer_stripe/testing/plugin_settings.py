"""The settings that a test gives to plugins, checked as those of the environment are."""

import difflib
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import BaseModel

from ..errors import KitError
from ..plugin_api.definition import Plugin
from ..plugin_api.settings import validated
from ..settings import SettingsError

GivenSettings = Mapping[str, Any] | BaseModel | None
"""Of one plugin: its fields, or its model. Of several: the same for each, by the plugin's name."""


def plugin_settings(plugins: Sequence[Plugin[Any]], given: GivenSettings) -> dict[str, BaseModel]:
    """The settings of each plugin that has any, by its name.

    Raises SettingsError as at the start of a service, and KitError for what no plugin asks for.
    """
    by_name = _by_name(plugins, given)
    settings: dict[str, BaseModel] = {}
    faults = []
    for plugin in plugins:
        of_plugin = by_name.get(plugin.name, {})
        model = plugin.settings
        if model is None:
            if of_plugin:
                raise KitError(f"The plugin {plugin.name} has no settings: Plugin(…, settings=…).")
        elif isinstance(of_plugin, model):
            settings[plugin.name] = of_plugin
        else:
            _check_names(plugin.name, model, of_plugin)
            made, wrong = validated(plugin.name, model, of_plugin)
            faults += wrong
            if made is not None:
                settings[plugin.name] = made
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
            "settings: of several plugins they are given by the plugin's name: "
            f"{{{', '.join(f'{name!r}: {{…}}' for name in names)}}}."
        )
    return given


def _check_names(plugin_name: str, model: type[BaseModel], given: Any) -> None:
    if not isinstance(given, Mapping):
        raise KitError(
            f"settings: those of {plugin_name} are a mapping of field → value, or a "
            f"{model.__name__}, not a {type(given).__name__}."
        )
    fields = model.model_fields
    for name in given:
        if name not in fields:
            near = difflib.get_close_matches(str(name), fields, n=1)
            hint = f"Did you mean {near[0]}?" if near else f"It has {', '.join(fields)}."
            raise KitError(f"settings: {plugin_name} has no field {name!r}. {hint}")
