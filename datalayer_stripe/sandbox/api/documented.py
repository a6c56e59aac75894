"""The parameters and fields that Stripe documents.

`documented.json` lists the parameters of each operation of the sandbox, and the fields of each
object. `make documented` generates it from the types of the installed SDK. The sandbox accepts all
of these parameters: an operation has its own readers for those that it acts on. The others are
checked by their documented type, and stored in the field with the same name and type if the object
has one. Unknown parameters are errors.
"""

import functools
import json
import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from ..engine.store import merge_metadata
from ..shapes.objects import Object
from . import params as p

FILE = Path(__file__).with_name("documented.json")

_READERS: dict[str, p.Reader] = {
    "any": p.anything,
    "boolean": p.boolean,
    "integer": p.integer,
    "map": p.metadata,
    "number": p.number,
    "string": p.string,
}
_TYPES: dict[str, type | tuple[type, ...]] = {
    "boolean": bool,
    "integer": int,
    "number": (int, float),
    "string": str,
}
_UNFIT = object()


@functools.cache
def _tables() -> Mapping[str, Any]:
    tables: Mapping[str, Any] = json.loads(FILE.read_text())
    return tables


def operation_name(method: str, path: str) -> str:
    """Return the name of an operation, such as `POST /v1/customers/{id}`.

    Args:
        method: the HTTP method.
        path: the path's pattern; the names of its identifiers do not matter.
    """
    return f"{method} " + re.sub(r"\{\w+\}", "{id}", path)


def accept(operation: str, acted: p.Fields) -> p.Fields:
    """Return a reader for each parameter that Stripe documents for an operation.

    Args:
        operation: such as `POST /v1/customers/{id}`.
        acted: the readers of the parameters that the sandbox acts on, and of those that only
            Stripe.js sends.
    """
    return _with_documented(_tables()["parameters"].get(operation, {}), acted)


def changes_of(obj: Object, values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the new values of the fields that have the name and type of a parameter.

    A hash keeps the values of the keys that were not sent. A field that Stripe only includes when
    asked, such as `tax` of a customer, stays left out.

    Args:
        obj: the current object; it is not modified.
        values: the checked parameters.
    """
    kinds = _tables()["fields"].get(obj["object"], {})
    changes = {}
    for name, value in values.items():
        if name == "metadata":
            changes[name] = merge_metadata(obj.get(name) or {}, value)
        elif name in kinds and name in obj:
            fitted = _fit(value, kinds[name], obj.get(name))
            if fitted is not _UNFIT:
                changes[name] = fitted
    return changes


def _with_documented(kinds: Mapping[str, Any], acted: p.Fields) -> p.Fields:
    """Return the readers of all documented names, and those of the sandbox in their place."""
    readers = dict(acted)
    for key, kind in kinds.items():
        name = key.removesuffix("?")
        reader = _completed(acted[name], kind) if name in acted else _reader(kind)
        readers[name] = _unsettable(reader, kind, unsets=key.endswith("?"))
    return readers


def _unsettable(reader: p.Reader, kind: Any, *, unsets: bool) -> p.Reader:
    """Return a reader that reads an empty string as Stripe documents it."""
    if isinstance(reader, p.HashReader):
        return replace(reader, unsets=unsets)
    return p.unsettable(reader) if unsets and kind == "string" else reader


def _reader(kind: Any) -> p.Reader:
    if isinstance(kind, list):
        return p.list_of(_reader(kind[0]))
    if isinstance(kind, dict):
        return p.hash_of(_with_documented(kind, {}))
    return _READERS[kind]


def _completed(reader: p.Reader, kind: Any) -> p.Reader:
    """Return a reader that also accepts the documented keys of a hash, or of a list of hashes."""
    if isinstance(reader, p.HashReader) and isinstance(kind, dict):
        return replace(reader, fields=_with_documented(kind, reader.fields))
    if isinstance(reader, p.ListReader) and isinstance(kind, list):
        return replace(reader, item=_completed(reader.item, kind[0]))
    return reader


def _fit(value: Any, kind: Any, current: Any) -> Any:
    """Return a parameter's value as the value of a field; `_UNFIT` if the types differ."""
    if value is None:
        return None
    if isinstance(kind, dict):
        return _fit_hash(value, kind, current)
    if isinstance(kind, list):
        return _fit_list(value, kind[0])
    if kind == "map":
        return dict(value) if isinstance(value, dict) else _UNFIT
    matches = kind in _TYPES and isinstance(value, _TYPES[kind])
    return value if matches and (kind == "boolean") == isinstance(value, bool) else _UNFIT


def _fit_list(value: Any, kind: Any) -> Any:
    if not isinstance(value, list):
        return _UNFIT
    items = [_fit(item, kind, None) for item in value]
    return _UNFIT if _UNFIT in items else items


def _fit_hash(value: Any, kinds: Mapping[str, Any], current: Any) -> Any:
    if not isinstance(value, dict):
        return _UNFIT
    before = current if isinstance(current, dict) else {}
    fitted = {
        name: _fit(inner, kinds[name], before.get(name))
        for name, inner in value.items()
        if name in kinds
    }
    fitted = {name: inner for name, inner in fitted.items() if inner is not _UNFIT}
    return {**before, **fitted} if fitted or not value else _UNFIT
