"""Read recorded events of the common types, and events from files.

A recording is the body of one delivery, as JSON. Its name is its type; further recordings of the
type have a suffix, such as `payment_intent.succeeded.after-decline`.
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
"""The folder of the recordings."""

StripeData = dict[str, Any]


def recorded_event(
    name: str, *, id: str | None = None, object_id: str | None = None, **fields: Any
) -> StripeData:
    """Return a copy of a recorded event, as plain data.

    For instance `recorded_event("payment_intent.succeeded", amount=500, amount_received=500)`.

    Args:
        name: An event type, or the name of a further recording of one, such as
            `customer.subscription.updated.past-due`.
        id: Replaces the event's id.
        object_id: Replaces the id of the event's object.
        fields: Replace fields of the event's object.

    Raises:
        KitError: There is no such recording. The message names similar ones.
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
    """Return the event types that have a recording, sorted."""
    return tuple(sorted({event["type"] for event in _all().values()}))


def recordings_of(event_type: str) -> dict[str, Mapping[str, Any]]:
    """Return copies of the recorded events of a type by their names, the one without suffix first.

    Args:
        event_type: The event type.
    """
    events = {name: event for name, event in _all().items() if event["type"] == event_type}
    return {name: copy.deepcopy(events[name]) for name in sorted(events, key=len)}


def load_event(path: str | Path) -> StripeData:
    """Read an event from a JSON file, as Stripe's dashboard or CLI shows it.

    Args:
        path: The file.

    Raises:
        KitError: The file contains no event of test mode. The message says what to do.
    """
    path = Path(path)
    try:
        event = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise KitError(
            f"Cannot read {path}: {error.strerror}. Pass the path of a JSON file."
        ) from None
    except ValueError as error:
        raise KitError(f"{path} is not JSON: {error}. {_HOW_TO_SAVE}") from None
    return checked(event, str(path))


def checked(event: Any, what: str) -> StripeData:
    """Return the event if a service in test mode accepts it.

    Args:
        event: The event, as plain data.
        what: What the error message calls it, such as its path.

    Raises:
        KitError: It is not an event, or an event of live mode.
    """
    if not isinstance(event, Mapping):
        raise KitError(f"{what} is not a Stripe event but a {type(event).__name__}. {_HOW_TO_SAVE}")
    try:
        parsed = Event.model_validate(event)
    except ValidationError as error:
        [fault, *_] = error.errors(include_input=False, include_url=False)
        where = ".".join(map(str, fault["loc"]))
        hint = " This looks like only the event's object." if _is_object(event) else ""
        raise KitError(
            f"{what} is not a Stripe event: {where}: {fault['msg']}.{hint} {_HOW_TO_SAVE}"
        ) from None
    if parsed.livemode:
        raise KitError(
            f"{what} is an event of live mode, which may contain personal data. "
            "Use an event of test mode."
        )
    return dict(event)


def referenced_objects(event: Mapping[str, Any]) -> list[StripeData]:
    """Return the recorded objects that an event refers to, as they were when it was created.

    References are followed: an invoice has its subscription and its customer, for instance.

    Args:
        event: The event, as plain data.
    """
    created = event["created"]
    found: dict[str, StripeData] = {}
    pending = list(_possible_ids(event["data"]["object"]))
    while pending:
        object_id = pending.pop()
        if object_id not in found and (one := _object_at(object_id, created)) is not None:
            found[object_id] = one
            pending += _possible_ids(one)
    found.pop(event["data"]["object"].get("id"), None)
    return list(found.values())


_HOW_TO_SAVE = (
    "Save the whole event as Stripe's dashboard shows it (Developers → Events), or with "
    "`stripe events retrieve evt_…`."
)


@cache
def _all() -> dict[str, StripeData]:
    """Return the recordings by name."""
    return {path.stem: json.loads(path.read_bytes()) for path in sorted(EVENTS.glob("*.json"))}


def _unknown(name: str) -> str:
    near = difflib.get_close_matches(name, _all(), n=3, cutoff=0.5)
    hint = f" Similar names: {', '.join(near)}." if near else ""
    return (
        f"There is no recording of {name}.{hint} recorded_types() returns all types; "
        "load_event(path) reads your own event."
    )


def _is_object(event: Mapping[str, Any]) -> bool:
    return event.get("object") != "event" and "object" in event and "id" in event


def _possible_ids(value: Any) -> list[str]:
    """Return all texts in an object that may be an id."""
    if isinstance(value, str):
        return [value] if "_" in value else []
    if isinstance(value, Mapping):
        value = value.values()
    elif not isinstance(value, list):
        return []
    return [text for one in value for text in _possible_ids(one)]


def _object_at(object_id: str, created: int) -> StripeData | None:
    """Return the object's last version at this time, or else its first version."""
    versions = _versions().get(object_id, [])
    known = [one for at, one in versions if at <= created] or [one for _, one in versions[:1]]
    return copy.deepcopy(known[-1]) if known else None


@cache
def _versions() -> dict[str, list[tuple[int, StripeData]]]:
    """Return the versions of each recorded object with their times, oldest first."""
    versions: dict[str, list[tuple[int, StripeData]]] = {}
    for event in sorted(_all().values(), key=lambda event: int(event["created"])):
        one = event["data"]["object"]
        versions.setdefault(one["id"], []).append((event["created"], one))
    return versions
