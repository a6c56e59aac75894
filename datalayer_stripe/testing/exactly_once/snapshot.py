"""The final state of a scenario, in a form in which two of them can be compared."""

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from ...plugin_api.definition import Plugin
from ...store.event_records import REJECTED
from ..plugin_environment import PluginEnvironment

Row = dict[str, Any]

# The fields of each collection that may differ: which of two events about one payment came first,
# and how often Stripe was asked, does not change the result.
_IGNORED_FIELDS = {
    "ledger": {"event_id", "ticket", "written_ticket"},
    "accounts": {"updated_at"},
    "subscriptions": {"ticket", "written_ticket"},
    "customers": set[str](),
    "former_customers": {"released_at"},
}
_EVENTS = "events"
_REJECTED_PREFIX = f"{REJECTED}: "

STRIPE = "Stripe"
"""The place of the objects at Stripe."""
OBSERVED = "observe()"
"""The place of the external effects."""

_RANDOM_FIELDS = {
    "client_secret",
    "confirmation_secret",
    "fingerprint",
    "invoice_prefix",
    "number",
}
_MAX_LINES = 8
_MAX_VALUE_LENGTH = 120


@dataclass(frozen=True)
class Snapshot:
    """The final state: for each place, such as a collection, its rows by their names."""

    places: Mapping[str, Mapping[str, Any]]

    def differences(self, expected: "Snapshot") -> dict[str, list[str]]:
        """Return, for each place that differs, some lines that say what differs."""
        lines = {
            place: _differences(expected.places.get(place, {}), self.places.get(place, {}))
            for place in {**expected.places, **self.places}
        }
        return {place: found for place, found in lines.items() if found}

    def rejection(self) -> str | None:
        """Return why an event was rejected; None if none was."""
        runs = (run for event in self.places[_EVENTS].values() for run in event.values())
        rejected = (run for run in runs if run.startswith(_REJECTED_PREFIX))
        return next((run.removeprefix(_REJECTED_PREFIX) for run in rejected), None)


async def take_snapshot(
    environment: PluginEnvironment,
    plugin: Plugin[Any],
    before: Collection[str],
    ignore: Collection[str],
) -> Snapshot:
    """Return the state of the database and of Stripe.

    Args:
        environment: The environment.
        plugin: The plugin whose collection is read.
        before: What :func:`stripe_rows` returned before the scenario.
        ignore: The fields of the plugin's documents that may differ.
    """
    database = environment.database
    own = f"plugin_{plugin.name}"
    places: dict[str, Mapping[str, Any]] = {own: _by_id(await database.documents(own), ignore)}
    for collection, fields in _IGNORED_FIELDS.items():
        places[collection] = _by_id(await database.documents(collection), fields)
    places[_EVENTS] = {
        event["_id"]: {name: _status(run) for name, run in event.get("handlers", {}).items()}
        for event in await database.documents(_EVENTS)
    }
    places[STRIPE] = _stripe_objects(environment.sandbox.objects, before)
    return Snapshot(places)


def stripe_rows(environment: PluginEnvironment) -> set[str]:
    """Return all objects at Stripe, each as JSON text."""
    return {_text(one) for one in environment.sandbox.objects}


def _status(run: Row) -> str:
    return f"{_REJECTED_PREFIX}{run['error']}" if run["status"] == REJECTED else str(run["status"])


def _by_id(rows: list[Row], ignore: Collection[str]) -> dict[str, Any]:
    """Return rows by their `_id`. Rows whose random `_id` is the driver's are numbered."""
    named, unnamed = {}, []
    for row in rows:
        fields = {name: value for name, value in row.items() if name not in {"_id", *ignore}}
        if type(row["_id"]).__name__ == "ObjectId":
            unnamed.append(fields)
        else:
            named[repr(row["_id"])] = fields
    return {**named, **_numbered("document", unnamed)}


def _stripe_objects(objects: list[Row], before: Collection[str]) -> dict[str, Any]:
    """Return the objects that were created or changed, without their random values."""
    changed = [one for one in objects if _text(one) not in before]
    known = {json.loads(text)["id"] for text in before}
    new_ids = {one["id"]: f"<{one['object']}>" for one in changed if one["id"] not in known}
    by_kind: dict[str, list[Row]] = {}
    for one in changed:
        by_kind.setdefault(one["object"], []).append(_masked(one, new_ids))
    return {
        name: row for kind, rows in by_kind.items() for name, row in _numbered(kind, rows).items()
    }


def _masked(value: Any, new_ids: Mapping[str, str]) -> Any:
    if isinstance(value, Mapping):
        return {
            name: "…" if name in _RANDOM_FIELDS and one else _masked(one, new_ids)
            for name, one in value.items()
        }
    if isinstance(value, list):
        return [_masked(one, new_ids) for one in value]
    if isinstance(value, str):
        if value.startswith(("http://", "https://")):
            return "…"  # a URL that contains an id or a token
        return new_ids.get(value, value)
    return value


def _numbered(word: str, rows: list[Row]) -> dict[str, Any]:
    return {f"{word} {n}": row for n, row in enumerate(sorted(rows, key=_text), 1)}


def _text(row: Any) -> str:
    return json.dumps(row, sort_keys=True, default=repr)


def _differences(expected: Mapping[str, Any], found: Mapping[str, Any]) -> list[str]:
    lines: list[str] = []
    for name in {**expected, **found}:
        if name not in found:
            lines.append(f"{name} is missing: {_short(expected[name])}")
        elif name not in expected:
            lines.append(f"{name} is unexpected: {_short(found[name])}")
        else:
            lines += [f"{name}{line}" for line in _field_differences(expected[name], found[name])]
    more = len(lines) - _MAX_LINES
    return [*lines[:_MAX_LINES], f"and {more} more"] if more > 0 else lines


def _field_differences(expected: Any, found: Any) -> list[str]:
    if not isinstance(expected, Mapping) or not isinstance(found, Mapping):
        same = expected == found
        return [] if same else [f" is {_short(found)} instead of {_short(expected)}"]
    nothing = "nothing"
    return [
        f": {name} is {_short(found.get(name, nothing))} "
        f"instead of {_short(expected.get(name, nothing))}"
        for name in {**expected, **found}
        if expected.get(name, nothing) != found.get(name, nothing)
    ]


def _short(value: Any) -> str:
    text = repr(value)
    if len(text) <= _MAX_VALUE_LENGTH:
        return text
    return f"{text[: _MAX_VALUE_LENGTH - 3]}…"
