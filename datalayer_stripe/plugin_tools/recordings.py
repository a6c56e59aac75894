"""The events for a new plugin and for a check: placeholders, and the payments before an event."""

from collections.abc import Mapping
from typing import Any

from ..events import PAYMENT_SUCCEEDED
from ..stripe_api.objects import id_of
from ..testing.recordings import recordings_of

_PLACEHOLDER_PREFIX = "evt_placeholder_"
_PLACEHOLDER_CREATED = 1767225600  # 2026-01-01


def payments_before(event: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Return the recorded payment of a charge, refund or dispute, if there is one.

    Args:
        event: The event, as plain data.
    """
    payment = id_of(event["data"]["object"].get("payment_intent"))
    paid = recordings_of(PAYMENT_SUCCEEDED).values()
    return [one for one in paid if one["data"]["object"]["id"] == payment]


def placeholder(event_type: str) -> dict[str, Any]:
    """Return a minimal event of a type that has no recording.

    Args:
        event_type: The event type.
    """
    return {
        "id": _PLACEHOLDER_PREFIX + event_type.replace(".", "_"),
        "object": "event",
        "api_version": None,
        "created": _PLACEHOLDER_CREATED,
        "data": {"object": {"id": "placeholder"}},
        "livemode": False,
        "type": event_type,
    }


def is_placeholder(event: Mapping[str, Any]) -> bool:
    """Return whether an event is what :func:`placeholder` returned."""
    return str(event["id"]).startswith(_PLACEHOLDER_PREFIX)
