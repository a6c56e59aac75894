"""Validation of a request's parameters.

Each operation has a table of readers, one per parameter, see `documented.accept`. Any other
parameter is an error, as at Stripe (`parameter_missing`, `parameter_unknown`, …):
https://docs.stripe.com/error-codes
"""

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from ..engine.errors import invalid, missing_param, unknown_params

Reader = Callable[[Any, str], Any]
Fields = Mapping[str, Reader]

_MAX_LENGTH = 5000
_MAX_AMOUNT = 99_999_999


def read(raw: Mapping[str, Any], fields: Fields, *, required: Iterable[str] = ()) -> dict[str, Any]:
    """Check the parameters of a request and return those that were sent, as Python values.

    Args:
        raw: the decoded parameters, see `forms.decode`.
        fields: a reader for each parameter the operation accepts.
        required: the names of the required parameters.

    Raises:
        StripeError: a parameter is unknown, missing or has the wrong type.
    """
    return _read(raw, fields, required, "")


def _read(
    raw: Mapping[str, Any], fields: Fields, required: Iterable[str], prefix: str
) -> dict[str, Any]:
    unknown = [_name(prefix, name) for name in raw if name not in fields]
    if unknown:
        raise unknown_params(unknown)
    for name in required:
        if name not in raw:
            raise missing_param(_name(prefix, name))
        if raw[name] == "":
            raise empty(_name(prefix, name))
    return {name: fields[name](value, _name(prefix, name)) for name, value in raw.items()}


def check_exclusive(values: Mapping[str, Any], name: str, *others: str) -> None:
    """Reject a request that has a parameter and one that cannot be combined with it.

    Args:
        values: the parameters of the request.
        name: the parameter.
        others: the parameters that cannot be combined with it.

    Raises:
        StripeError: the request has both.
    """
    both = [name, *(other for other in others if other in values)]
    if name in values and len(both) > 1:
        raise invalid(
            f"You may only specify one of these parameters: {', '.join(both)}.", param=both[1]
        )


def string(value: Any, param: str) -> str | None:
    """Read a string. An empty string unsets the parameter."""
    if not isinstance(value, str):
        raise invalid(f"Invalid string: {value}", param=param)
    if len(value) > _MAX_LENGTH:
        raise invalid(
            f"Invalid string: {value[:10]}...{value[-10:]}; must be at most {_MAX_LENGTH} "
            "characters",
            param=param,
        )
    return value or None


def integer(value: Any, param: str) -> int | None:
    """Read an integer. An empty string unsets the parameter."""
    if value == "":
        return None
    try:
        return int(value)
    except (TypeError, ValueError):
        raise invalid(
            f"Invalid integer: {value}", code="parameter_invalid_integer", param=param
        ) from None


def amount(value: Any, param: str) -> int | None:
    """Read an amount in the currency's minor unit: from 0 to 99999999."""
    number = integer(value, param)
    if number is None:
        return None
    if number < 0:
        raise invalid(
            "This value must be greater than or equal to 0.",
            code="parameter_invalid_integer",
            param=param,
        )
    if number > _MAX_AMOUNT:
        raise invalid(
            "Amount must be no more than $999,999.99", code="amount_too_large", param=param
        )
    return number


def number(value: Any, param: str) -> float | None:
    """Read a number. An empty string unsets the parameter."""
    if value == "":
        return None
    try:
        read_value = float(value)
    except (TypeError, ValueError):
        read_value = math.nan
    if not math.isfinite(read_value):
        raise invalid(f"Invalid decimal: {value}", param=param)
    return read_value


def anything(value: Any, _param: str) -> Any:
    """Read a value of any type as it was sent; an empty string unsets the parameter."""
    return None if value == "" else value


def boolean(value: Any, param: str) -> bool:
    """Read `true` or `false`."""
    if value not in ("true", "false"):
        raise invalid(f"Invalid boolean: {value}", param=param)
    return bool(value == "true")


def currency(value: Any, param: str) -> str:
    """Read a three-letter currency code and return it in lower case."""
    code = str(value).lower()
    if len(code) != 3 or not code.isalpha() or not code.isascii():
        raise invalid(f"Invalid currency: {value}", param=param)
    return code


def choice(*allowed: str) -> Reader:
    """Return a reader that accepts one of the given values."""

    def read_choice(value: Any, param: str) -> str:
        if value not in allowed:
            listed = (
                allowed[0] if len(allowed) == 1 else ", ".join(allowed[:-1]) + f" or {allowed[-1]}"
            )
            name = param.rsplit("[", 1)[-1].rstrip("]")
            raise invalid(f"Invalid {name}: must be one of {listed}", param=param)
        return str(value)

    return read_choice


def unsettable(reader: Reader) -> Reader:
    """Return a reader that reads an empty string as None, which unsets the parameter."""

    def read_unsettable(value: Any, param: str) -> Any:
        return None if value == "" else reader(value, param)

    return read_unsettable


def metadata(value: Any, param: str) -> dict[str, str]:
    """Read metadata: up to 50 keys of up to 40 characters, with values of up to 500.

    An empty value removes its key. An empty string instead of the hash removes all keys; it is
    read as `{"": ""}`. See `merge_metadata`.
    """
    if value == "":
        return {"": ""}
    if not isinstance(value, Mapping):
        raise invalid("Invalid hash", param=param, code=None)
    if len(value) > 50:
        raise invalid("Metadata can have up to 50 keys.", param=param)
    for key, text in value.items():
        if not isinstance(text, str):
            raise invalid("Metadata values must be strings.", param=f"{param}[{key}]")
        if len(key) > 40 or len(text) > 500:
            raise invalid(
                "Metadata keys can have up to 40 characters, and values up to 500.",
                param=f"{param}[{key}]",
            )
    return dict(value)


@dataclass(frozen=True)
class HashReader:
    """Reader of a nested hash.

    Attributes:
        fields: a reader for each key.
        required: the names of the required keys.
        unsets: whether an empty string unsets it; otherwise it is an error.
    """

    fields: Fields
    required: Iterable[str] = ()
    unsets: bool = True

    def __call__(self, value: Any, param: str) -> dict[str, Any] | None:
        if value == "":
            if not self.unsets:
                raise empty(param)
            return None
        if not isinstance(value, Mapping):
            raise invalid("Invalid object", param=param)
        return _read(value, self.fields, self.required, param)


def hash_of(fields: Fields, *, required: Iterable[str] = ()) -> Reader:
    """Return a reader of a nested hash.

    Args:
        fields: a reader for each key.
        required: the names of the required keys.
    """
    return HashReader(fields, tuple(required))


@dataclass(frozen=True)
class ListReader:
    """Reader of a list, sent as `name[]` or with indexes. An empty string is an empty list.

    Attributes:
        item: the reader of each item.
    """

    item: Reader

    def __call__(self, value: Any, param: str) -> list[Any]:
        if value == "":
            return []
        if isinstance(value, Mapping) and all(index.isdigit() for index in value):
            value = [value[index] for index in sorted(value, key=int)]
        if not isinstance(value, list):
            raise invalid("Invalid array", param=param)
        return [self.item(entry, f"{param}[{index}]") for index, entry in enumerate(value)]


def list_of(item: Reader) -> Reader:
    """Return a reader of a list with the given reader of each item."""
    return ListReader(item)


def time_range(value: Any, param: str) -> dict[str, int]:
    """Read a filter on a time in epoch seconds: exact, or a hash of `gt`, `gte`, `lt`, `lte`."""
    if isinstance(value, Mapping):
        bounds = _read(value, dict.fromkeys(("gt", "gte", "lt", "lte"), integer), (), param)
        return {name: bound for name, bound in bounds.items() if bound is not None}
    time = integer(value, param)
    return {} if time is None else {"gte": time, "lte": time}


def _name(prefix: str, name: str) -> str:
    return f"{prefix}[{name}]" if prefix else name


def empty(param: str) -> Exception:
    """Return the error for an empty value of a parameter that cannot be unset."""
    return invalid(
        f"You passed an empty string for '{param}'. We assume empty values are an attempt to "
        f"unset a parameter; however '{param}' cannot be unset. You should remove '{param}' from "
        "your request or supply a non-empty value.",
        code="parameter_invalid_empty",
        param=param,
    )
