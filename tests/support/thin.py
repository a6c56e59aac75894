"""Thin events for tests: https://docs.stripe.com/api/v2/core/events/object."""

import json
from typing import Any

from datalayer_stripe.sandbox import Sandbox
from datalayer_stripe.sandbox.shapes.thin_events import thin_event


def last_event(sandbox: Sandbox, event_type: str) -> dict[str, Any]:
    """Return the latest snapshot event of a type."""
    return next(one for one in reversed(sandbox.events) if one["type"] == event_type)


def thin_body(event: dict[str, Any], **fields: Any) -> bytes:
    """Return the body of the thin event of a snapshot event, with changed fields."""
    return json.dumps({**thin_event(event), **fields}).encode()
