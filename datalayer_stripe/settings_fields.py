"""Declare a setting at its field: variable, documentation, example value and checks.

The tables of docs/configuration.md and the example file are generated from these declarations.
"""

import typing
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Literal

from pydantic import BaseModel, Field
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from .errors import Fault
from .settings_checks import is_placeholder, is_too_short_webhook_secret, revealed, unquoted

Section = Literal["Stripe", "Bearer tokens", "Service"]


def setting(
    variable: str,
    *,
    section: Section,
    doc: str,
    remedy: str,
    example: str | None = None,
    refuse_placeholder: bool = False,
    **options: Any,
) -> Any:
    """Return the field of a setting.

    Args:
        variable: The environment variable.
        section: The section of docs/configuration.md.
        doc: What the setting is, in Markdown.
        remedy: Where to find the right value: the end of each error message about it.
        example: The value in the example file; the default if it is None.
        refuse_placeholder: Whether an example value of the documents is refused at the start.
        options: Arguments of :func:`pydantic.Field`, such as `default`.
    """
    return Field(
        validation_alias=variable,
        description=doc,
        json_schema_extra={
            "section": section,
            "remedy": remedy,
            "example": example,
            "refuse_placeholder": refuse_placeholder,
        },
        **options,
    )


def variable_of(field: FieldInfo) -> str:
    """Return the environment variable of a setting's field."""
    return str(field.validation_alias)


def extra_of(field: FieldInfo, name: str) -> Any:
    """Return what :func:`setting` has stored at a field: section, remedy, example and so on."""
    extra = field.json_schema_extra
    assert isinstance(extra, dict)  # noqa: S101 (setting() made it)
    return extra[name]


def is_list(field: FieldInfo) -> bool:
    """Return whether a setting takes several values, which are separated by commas."""
    return typing.get_origin(field.annotation) is tuple


def cleaned(model: type[BaseModel], values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values by field name, without blanks and quotes around them.

    Lists are split at commas. Blank values are left out.

    Args:
        model: The class of the settings.
        values: Values by variable or field name.
    """
    fields = model.model_fields
    names = {variable_of(field): name for name, field in fields.items()}
    found: dict[str, Any] = {}
    for key, raw in values.items():
        name = names.get(key, key)
        value = unquoted(raw)
        if name in fields and is_list(fields[name]) and isinstance(value, str):
            value = tuple(filter(None, map(unquoted, value.split(","))))
        if value not in (None, "", ()):
            found[name] = value
    return found


def guessable_faults(model: type[BaseModel], values: Mapping[str, Any]) -> Iterator[Fault]:
    """Yield a fault for each value that is an example of the documents, or can be guessed.

    Args:
        model: The class of the settings.
        values: Values by field name.
    """
    for name, field in model.model_fields.items():
        if not extra_of(field, "refuse_placeholder"):
            continue
        value = values.get(name, ())
        texts = map(revealed, value if isinstance(value, tuple | list) else (value,))
        known = [text for text in texts if isinstance(text, str)]
        if any(map(is_placeholder, known)):
            yield _fault(field, "is still a placeholder of the documentation")
        elif name == "stripe_webhook_secrets" and any(map(is_too_short_webhook_secret, known)):
            yield _fault(field, "is shorter than any secret of Stripe, and could be guessed")


def faults_in(model: type[BaseModel], details: Iterable[ErrorDetails]) -> list[Fault]:
    """Return pydantic's errors as faults.

    Args:
        model: The class of the settings.
        details: The errors.

    Raises:
        TypeError: An error is about a field that the settings do not have.
    """
    fields = model.model_fields
    names = {variable_of(field): name for name, field in fields.items()}
    faults = []
    for detail in details:
        key = str(detail["loc"][0])
        name = names.get(key, key)
        if name not in fields:
            raise TypeError(f"{model.__name__} has no field {name}")
        faults.append(_fault(fields[name], _problem(detail)))
    return faults


_PROBLEMS: Mapping[str, Callable[[ErrorDetails], str]] = {
    "missing": lambda _: "is missing or blank",
    "value_error": lambda detail: str(detail["ctx"]["error"]),
    "literal_error": lambda detail: f"is not one of {detail['ctx']['expected']}",
    "int_parsing": lambda _: "is not a whole number",
    "int_type": lambda _: "is not a whole number",
    "greater_than_equal": lambda detail: f"is less than {detail['ctx']['ge']}",
    "less_than_equal": lambda detail: f"is more than {detail['ctx']['le']}",
    "string_pattern_mismatch": lambda _: "is too long, or has characters that are not allowed",
}


def _problem(detail: ErrorDetails) -> str:
    describe = _PROBLEMS.get(detail["type"])
    return describe(detail) if describe else f"is of the wrong type: {detail['msg']}"


def _fault(field: FieldInfo, problem: str) -> Fault:
    return Fault(variable_of(field), problem, str(extra_of(field, "remedy")))
