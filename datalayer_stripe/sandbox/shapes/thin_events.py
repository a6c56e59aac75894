"""Thin events, which name an object and contain no data of it.

https://docs.stripe.com/api/v2/core/events/object
"""

import copy
from datetime import UTC, datetime
from typing import Any

from .objects import Object

_ID_PREFIX = "evt_test_"


def thin_event(event: Object) -> Object:
    """Return the thin event about the same change as a snapshot event, as it is delivered.

    Args:
        event: the snapshot event, in Stripe's current shape.
    """
    subject = event["data"]["object"]
    request = event.get("request") or {"id": None, "idempotency_key": None}
    related = None
    if "id" in subject:
        path = f"/v1/{subject['object'].replace('.', '/')}s/{subject['id']}"
        related = {"id": subject["id"], "type": subject["object"], "url": path}
    return {
        "id": _ID_PREFIX + event["id"].removeprefix("evt_"),
        "object": "v2.core.event",
        "type": thin_type(event),
        "livemode": event["livemode"],
        "created": timestamp(event["created"]),
        "context": None,
        "reason": {"type": "request", "request": request} if all(request.values()) else None,
        "related_object": related,
        "snapshot_event": event["id"],
    }


def full_thin_event(event: Object) -> Object:
    """Return the thin event as the API answers it, with the changes of the object.

    Args:
        event: the snapshot event, in Stripe's current shape.
    """
    before = event["data"].get("previous_attributes")
    changes: dict[str, Any] | None = None
    if before is not None:
        subject = event["data"]["object"]
        after = {name: subject.get(name) for name in before}
        changes = {"before": copy.deepcopy(before), "after": copy.deepcopy(after)}
    return {**thin_event(event), "changes": changes}


def thin_type(event: Object) -> str:
    """Return the type of the thin event of a snapshot event."""
    return "v1." + str(event["type"])


def snapshot_id(thin_id: str) -> str:
    """Return the identifier of the snapshot event of a thin event."""
    return "evt_" + thin_id.removeprefix(_ID_PREFIX)


def timestamp(seconds: float) -> str:
    """Return a time in epoch seconds in the format of the API v2."""
    text = datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds")
    return text.replace("+00:00", "Z")
