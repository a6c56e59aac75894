"""Recorded events of the common types, and events of one's own from a file.

A recording is the body of one delivery, as JSON. Its name is its type; a further recording of a
type has a word more, such as `payment_intent.succeeded.after-decline`.
"""

import copy
import difflib
import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from ..errors import KitError
from ..events import Event

EVENTS = Path(__file__).parent / "events"

StripeData = dict[str, Any]


def recorded_event(
    name: str, *, id: str | None = None, object_id: str | None = None, **fields: Any
) -> StripeData:
    """A recorded event, as plain data of the caller's own.

    `name` is an event type, or the name of a further recording of one, as in
    `customer.subscription.updated.past-due`. `id` replaces the event's id, `object_id` that of the
    object it is about, and `fields` replace fields of that object:
    `recorded_event("payment_intent.succeeded", amount=500, amount_received=500)`.

    Raises KitError, which names the nearest, where there is no such recording.
    """
    if name not in _all():
        raise KitError(_unknown(name))
    event = copy.deepcopy(_all()[name])
    if id is not None:
        event["id"] = id
    if object_id is not None:
        event["data"]["object"]["id"] = object_id
    event["data"]["object"].update(copy.deepcopy(fields))
    return event


def recorded_types() -> tuple[str, ...]:
    """The event types that have a recording, in order."""
    return tuple(sorted({event["type"] for event in _all().values()}))


def load_event(path: str | Path) -> StripeData:
    """An event of one's own, from a JSON file: what Stripe's dashboard or CLI shows of one.

    Raises KitError, with what to do, for a file that holds no event, or one of live mode.
    """
    path = Path(path)
    try:
        event = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise KitError(f"{path}: {error.strerror}. Give the path of a JSON file.") from None
    except ValueError as error:
        raise KitError(f"{path} is not JSON: {error}. {_WHERE_FROM}") from None
    return checked(event, str(path))


def checked(event: Any, what: str) -> StripeData:
    """The event, when it is one that a service in test mode takes; else raises KitError."""
    if not isinstance(event, Mapping):
        raise KitError(f"{what} is no Stripe event but a {type(event).__name__}. {_WHERE_FROM}")
    try:
        read = Event.model_validate(event)
    except ValidationError as error:
        [fault, *_] = error.errors(include_input=False, include_url=False)
        where = ".".join(map(str, fault["loc"]))
        hint = " This looks like the event's object alone." if _is_object(event) else ""
        raise KitError(
            f"{what} is no Stripe event: {where}: {fault['msg']}.{hint} {_WHERE_FROM}"
        ) from None
    if read.livemode:
        raise KitError(
            f"{what} is of live mode, and may hold somebody's data. Record it in test mode."
        )
    return dict(event)


def objects_beside(event: Mapping[str, Any]) -> list[StripeData]:
    """The recorded objects that an event refers to, as they were when it was made.

    So an invoice comes with its subscription and its customer, and these with theirs.
    """
    created = event["created"]
    found: dict[str, StripeData] = {}
    waiting = list(_references(event["data"]["object"]))
    while waiting:
        object_id = waiting.pop()
        if object_id not in found and (one := _object_at(object_id, created)) is not None:
            found[object_id] = one
            waiting += _references(one)
    found.pop(event["data"]["object"].get("id"), None)
    return list(found.values())


_WHERE_FROM = (
    "Save the whole event as Stripe shows it in the dashboard, Developers → Events, or by "
    "`stripe events retrieve evt_…`."
)


@cache
def _all() -> dict[str, StripeData]:
    """The recordings by name."""
    return {path.stem: json.loads(path.read_bytes()) for path in sorted(EVENTS.glob("*.json"))}


def _unknown(name: str) -> str:
    near = difflib.get_close_matches(name, _all(), n=3, cutoff=0.5)
    hint = f" The nearest: {', '.join(near)}." if near else ""
    return (
        f"There is no recording of {name}.{hint} recorded_types() lists all types; "
        "load_event(path) reads an event of your own."
    )


def _is_object(event: Mapping[str, Any]) -> bool:
    return event.get("object") != "event" and "object" in event and "id" in event


def _references(value: Any) -> list[str]:
    """All texts of an object that may be an id."""
    if isinstance(value, str):
        return [value] if "_" in value else []
    if isinstance(value, Mapping):
        value = value.values()
    elif not isinstance(value, list):
        return []
    return [text for one in value for text in _references(one)]


def _object_at(object_id: str, created: int) -> StripeData | None:
    """The object as it was in the last recording until then, or in the first one."""
    versions = _versions().get(object_id, [])
    known = [one for at, one in versions if at <= created] or [one for _, one in versions[:1]]
    return copy.deepcopy(known[-1]) if known else None


@cache
def _versions() -> dict[str, list[tuple[int, StripeData]]]:
    """Each recorded object, with the time of each version, oldest first."""
    versions: dict[str, list[tuple[int, StripeData]]] = {}
    for event in sorted(_all().values(), key=lambda event: int(event["created"])):
        one = event["data"]["object"]
        versions.setdefault(one["id"], []).append((event["created"], one))
    return versions
