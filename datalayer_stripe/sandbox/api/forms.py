"""Encoding of form bodies, with nested hashes and lists in brackets.

`items[0][price]=price_1&metadata[a]=b&expand[]=customer` becomes
`{"items": {"0": {"price": "price_1"}}, "metadata": {"a": "b"}, "expand": ["customer"]}`;
a list with explicit indexes is decoded as a dictionary, which `params.list_of` turns into a list.
"""

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import parse_qsl

from ..engine.errors import invalid

_KEY = re.compile(r"^([^\[\]]+)((?:\[[^\[\]]*\])*)$")
_MAX_FIELDS = 1000


def decode(text: str) -> dict[str, Any]:
    """Decode a query string or form body.

    Raises:
        StripeError: a key's brackets do not match, or a name is used both as a value and as a hash.
    """
    decoded: dict[str, Any] = {}
    try:
        pairs = parse_qsl(text, keep_blank_values=True, max_num_fields=_MAX_FIELDS, errors="strict")
    except ValueError:
        raise invalid("Invalid request: the form could not be decoded.") from None
    for key, value in pairs:
        match = _KEY.match(key)
        if match is None:
            raise invalid(f"Invalid parameter name: {key}", param=key)
        path = [match[1], *re.findall(r"\[([^\[\]]*)\]", match[2])]
        _insert(decoded, path, value, key)
    return decoded


def decode_json(text: str) -> dict[str, Any]:
    """Decode a JSON body to the form that `decode` returns. An empty body has no parameters.

    Raises:
        StripeError: the body is not a JSON object.
    """
    try:
        body = json.loads(text or "{}")
        if isinstance(body, dict):
            return encode(body)
    except (ValueError, RecursionError):
        pass
    raise invalid("Invalid request: the body is not a JSON object.")


def encode(params: Mapping[str, Any]) -> dict[str, Any]:
    """Convert Python values to the form that `decode` returns: strings, hashes and lists.

    None becomes an empty string, which unsets a parameter.
    """
    return {name: _encode_value(value) for name, value in params.items()}


def _encode_value(value: Any) -> Any:
    if isinstance(value, Mapping):
        return encode(value)
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_encode_value(item) for item in value]
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)


def _insert(target: dict[str, Any], path: list[str], value: str, key: str) -> None:
    name, *rest = path
    if rest == [""]:
        values = target.setdefault(name, [])
        if not isinstance(values, list):
            raise invalid(f"Invalid parameter: {key}", param=key)
        values.append(value)
    elif rest:
        inner = target.setdefault(name, {})
        if not isinstance(inner, dict):
            raise invalid(f"Invalid parameter: {key}", param=key)
        _insert(inner, rest, value, key)
    else:
        target[name] = value
