"""The events that a plugin is tried with: Stripe's own where there are recordings, else made up."""

import json
from collections.abc import Mapping
from typing import Any

from ..events import PAYMENT_SUCCEEDED
from ..stripe_api.objects import id_of
from ..testing.recordings import EVENTS

_MADE_UP = "evt_made_up_"


def recordings_of(event_type: str) -> dict[str, Mapping[str, Any]]:
    """The recorded events of exactly this type, by their names; the plain one comes first."""
    paths = sorted(EVENTS.glob(f"{event_type}*.json"), key=lambda path: len(path.name))
    events = {path.stem: json.loads(path.read_bytes()) for path in paths}
    return {name: event for name, event in events.items() if event["type"] == event_type}


def payments_before(event: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The recorded payment that a charge, refund or dispute is of, where there is one."""
    payment = id_of(event["data"]["object"].get("payment_intent"))
    paid = recordings_of(PAYMENT_SUCCEEDED).values()
    return [one for one in paid if one["data"]["object"]["id"] == payment]


def made_up(event_type: str) -> dict[str, Any]:
    """The least that is an event of this type."""
    return {
        "id": _MADE_UP + event_type.replace(".", "_"),
        "object": "event",
        "api_version": None,
        "created": 1767225600,
        "data": {"object": {"id": "made_up"}},
        "livemode": False,
        "type": event_type,
    }


def is_made_up(event: Mapping[str, Any]) -> bool:
    """Whether it is still what :func:`made_up` returned, and nobody has replaced it."""
    return str(event["id"]).startswith(_MADE_UP)
