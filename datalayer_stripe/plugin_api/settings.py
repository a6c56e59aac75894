"""Read the settings of plugins from `DATALAYER_STRIPE_PLUGIN_<NAME>_<FIELD>`.

A fault names its variable and says what is wrong. It never shows a value.
"""

import typing
from collections.abc import Iterable, Mapping
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from ..errors import Fault
from ..settings_checks import unquoted
from .definition import Plugin

PREFIX = "DATALAYER_STRIPE_PLUGIN_"

_LISTS = (list, tuple, set, frozenset)


def variable(plugin_name: str, field: str) -> str:
    """Return the name of the variable that sets a field of a plugin's settings."""
    return f"{PREFIX}{plugin_name}_{field}".replace("-", "_").upper()


def read_plugin_settings(
    plugins: Iterable[Plugin[Any]], environ: Mapping[str, str]
) -> tuple[dict[str, BaseModel], list[Fault]]:
    """Read the settings of all plugins that have any.

    Blanks and quotes around a value are removed. A blank value counts as missing. Lists are
    separated by commas.

    Args:
        plugins: The plugins.
        environ: The environment variables.

    Returns:
        The settings by the plugin's name, and all faults.
    """
    settings: dict[str, BaseModel] = {}
    faults: list[Fault] = []
    for plugin in plugins:
        model = plugin.settings
        if model is None:
            continue
        made, wrong = validated(plugin.name, model, _texts(plugin.name, model, environ))
        faults += wrong
        if made is not None:
            settings[plugin.name] = made
    return settings, faults


def validated(
    name: str, model: type[BaseModel], given: Mapping[str, Any]
) -> tuple[BaseModel | None, list[Fault]]:
    """Validate the settings of one plugin.

    Args:
        name: The plugin's name.
        model: The class of its settings.
        given: The value of each field. A string is parsed as in a variable.

    Returns:
        The settings and no fault, or None and all faults.
    """
    fields = model.model_fields
    values = {
        field: _value(fields[field], value) if isinstance(value, str) else value
        for field, value in given.items()
    }
    try:
        return model.model_validate(values, by_alias=False, by_name=True), []
    except ValidationError as error:
        details = error.errors(include_input=False, include_url=False)
        texts = {field: text for field, value in given.items() if (text := str(value))}
        return None, [_fault(name, model, detail, texts) for detail in details]


def _texts(name: str, model: type[BaseModel], environ: Mapping[str, str]) -> dict[str, str]:
    found = {
        field: unquoted(environ.get(variable(name, field), "")) for field in model.model_fields
    }
    return {field: text for field, text in found.items() if text}


def _value(field: FieldInfo, text: str) -> str | list[str]:
    kinds = (field.annotation, *typing.get_args(field.annotation))
    if any((typing.get_origin(kind) or kind) in _LISTS for kind in kinds):
        return [part for one in text.split(",") if (part := unquoted(one))]
    return text


def _fault(
    name: str, model: type[BaseModel], detail: ErrorDetails, texts: Mapping[str, str]
) -> Fault:
    place = detail["loc"][0] if detail["loc"] else None
    field = place if isinstance(place, str) and place in model.model_fields else None
    problem = "is missing or blank" if detail["type"] == "missing" else detail["msg"]
    # The message of a validator in the plugin may contain the value.
    for text in sorted(texts.values(), key=len, reverse=True):
        problem = problem.replace(text, "…")
    description = model.model_fields[field].description if field else None
    explained = f": {description.rstrip('.')}" if description else ""
    return Fault(
        variable(name, field) if field else variable(name, ""),
        problem.removeprefix("Value error, "),
        f"It is a setting of the plugin {name}{explained}.",
    )
