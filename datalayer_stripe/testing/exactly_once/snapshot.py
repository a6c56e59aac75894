"""What a scenario of events has left behind, in a form in which two of them can be compared."""

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from ...plugin_api.definition import Plugin
from ...store.events import REJECTED
from ..environment import Environment

Row = dict[str, Any]

# Which of two events of one payment came first, and how often somebody has looked at Stripe, say
# nothing of how it ended.
_BY_NATURE = {
    "ledger": {"event_id", "ticket", "written_ticket"},
    "accounts": {"updated_at"},
    "subscriptions": {"ticket", "written_ticket"},
    "customers": set[str](),
    "former_customers": {"released_at"},
}
_EVENTS = "events"
_REJECTED = f"{REJECTED}: "
STRIPE = "Stripe"
OBSERVED = "observe()"

_SECRET = {"client_secret", "confirmation_secret", "fingerprint", "invoice_prefix", "number"}
_MAX_LINES = 8


@dataclass(frozen=True)
class Snapshot:
    """What is there at the end: for each place, its rows by what names them."""

    places: Mapping[str, Mapping[str, Any]]

    def differences(self, expected: "Snapshot") -> dict[str, list[str]]:
        """For each place that is not as expected, a few lines that say what is different."""
        lines = {
            place: _different(expected.places.get(place, {}), self.places.get(place, {}))
            for place in {**expected.places, **self.places}
        }
        return {place: found for place, found in lines.items() if found}

    def rejected(self) -> str | None:
        """Why an event was rejected, if any was."""
        runs = (run for event in self.places[_EVENTS].values() for run in event.values())
        rejected = (run for run in runs if run.startswith(_REJECTED))
        return next((run.removeprefix(_REJECTED) for run in rejected), None)


async def look(
    stage: Environment, plugin: Plugin[Any], before: Collection[str], ignore: Collection[str]
) -> Snapshot:
    """What is in the database and at Stripe; `before` is :func:`stripe_rows` of the beginning."""
    own = f"plugin_{plugin.name}"
    places: dict[str, Mapping[str, Any]] = {
        own: _named(await stage.database.documents(own), ignore)
    }
    for collection, fields in _BY_NATURE.items():
        places[collection] = _named(await stage.database.documents(collection), fields)
    places[_EVENTS] = {
        event["_id"]: {name: _standing(run) for name, run in event.get("handlers", {}).items()}
        for event in await stage.database.documents(_EVENTS)
    }
    places[STRIPE] = _stripe(stage.sandbox.objects, before)
    return Snapshot(places)


def _standing(run: Row) -> str:
    return f"{_REJECTED}{run['error']}" if run["status"] == REJECTED else str(run["status"])


def stripe_rows(stage: Environment) -> set[str]:
    """All that Stripe has, as texts."""
    return {_text(one) for one in stage.sandbox.objects}


def _named(rows: list[Row], ignore: Collection[str]) -> dict[str, Any]:
    """Rows by their `_id`. One that the driver has made up says nothing: those are numbered."""
    named, nameless = {}, []
    for row in rows:
        fields = {name: value for name, value in row.items() if name not in {"_id", *ignore}}
        if type(row["_id"]).__name__ == "ObjectId":
            nameless.append(fields)
        else:
            named[repr(row["_id"])] = fields
    return {**named, **_numbered("document", nameless)}


def _stripe(objects: list[Row], before: Collection[str]) -> dict[str, Any]:
    """The objects that were made or changed, without what is made up for each."""
    new = [one for one in objects if _text(one) not in before]
    known = {json.loads(text)["id"] for text in before}
    made_up = {one["id"]: f"<{one['object']}>" for one in new if one["id"] not in known}
    kinds: dict[str, list[Row]] = {}
    for one in new:
        kinds.setdefault(one["object"], []).append(_masked(one, made_up))
    return {
        name: row for kind, rows in kinds.items() for name, row in _numbered(kind, rows).items()
    }


def _masked(value: Any, made_up: Mapping[str, str]) -> Any:
    if isinstance(value, Mapping):
        return {
            name: "…" if name in _SECRET and one else _masked(one, made_up)
            for name, one in value.items()
        }
    if isinstance(value, list):
        return [_masked(one, made_up) for one in value]
    if isinstance(value, str):
        if value.startswith(("http://", "https://")):
            return "…"  # an address with an id or a token in it
        return made_up.get(value, value)
    return value


def _numbered(word: str, rows: list[Row]) -> dict[str, Any]:
    return {f"{word} {n}": row for n, row in enumerate(sorted(rows, key=_text), 1)}


def _text(row: Any) -> str:
    return json.dumps(row, sort_keys=True, default=repr)


def _different(expected: Mapping[str, Any], found: Mapping[str, Any]) -> list[str]:
    lines: list[str] = []
    for name in {**expected, **found}:
        if name not in found:
            lines.append(f"{name} is missing: {_short(expected[name])}")
        elif name not in expected:
            lines.append(f"{name} is too many: {_short(found[name])}")
        else:
            lines += [f"{name}{line}" for line in _fields(expected[name], found[name])]
    more = len(lines) - _MAX_LINES
    return [*lines[:_MAX_LINES], f"and {more} more"] if more > 0 else lines


def _fields(expected: Any, found: Any) -> list[str]:
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
    return text if len(text) <= 120 else f"{text[:117]}…"
