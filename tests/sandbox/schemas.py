"""Validation of objects against Stripe's own schemas."""

import functools
import json
from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator

SCHEMAS = Path(__file__).parents[1] / "data" / "schemas"

# Objects without a schema file: the file and the definition that contain their schema.
_DEFINITIONS = {
    "payment_method": ("payment_intent", "payment_method"),
    "invoice_payment": ("invoice", "invoice_payment"),
    "line_item": ("invoice", "line_item"),
}


@functools.cache
def _load(name: str) -> dict[str, Any]:
    return json.loads((SCHEMAS / f"{name}.json").read_text())


@functools.cache
def _schema(kind: str) -> dict[str, Any]:
    file, definition = _DEFINITIONS.get(kind, (kind, None))
    schema = _load(file)
    if definition is not None:
        return {"$ref": f"#/$defs/{definition}", "$defs": schema["$defs"]}
    return schema


@functools.cache
def _validator(kind: str) -> Draft202012Validator:
    return Draft202012Validator(_schema(kind))


def properties(kind: str) -> set[str]:
    """Return the names of an object type's fields."""
    schema = _schema(kind)
    if "$ref" in schema:
        schema = schema["$defs"][schema["$ref"].rsplit("/", 1)[1]]
    return set(schema["properties"])


def check(obj: dict[str, Any], kind: str | None = None) -> None:
    """Fail unless an object and the objects in it conform to Stripe's schema.

    The schemas allow unknown fields; this check does not.
    """
    kind = kind or obj["object"]
    if obj.get("deleted"):
        assert set(obj) == {"id", "object", "deleted"}
        return
    problems = [
        f"{'.'.join(map(str, problem.absolute_path))}: {problem.message[:200]}"
        for problem in _validator(kind).iter_errors(obj)
    ]
    assert not problems, f"{kind}: {problems}"
    unknown = set(obj) - properties(kind)
    assert not unknown, f"{kind} has fields that are not in Stripe's schema: {unknown}"


def check_error(body: dict[str, Any]) -> None:
    """Fail unless an error body conforms to Stripe's schema."""
    check(body, "error")
