"""Events.

https://docs.stripe.com/api/events
"""

from collections.abc import Mapping
from typing import Any

from ..api import params as p
from ..api.documented import accept
from ..api.lists import LIST_FIELDS, page
from ..api.routes import Route
from ..engine.backend import Backend
from ..engine.errors import StripeError, invalid
from ..shapes.objects import Object
from ..shapes.thin_events import full_thin_event, snapshot_id
from .event_destinations import not_found

_MAX_TYPES = 20
_LIST = accept("GET /v1/events", LIST_FIELDS)


class Events:
    """The API's operations on events.

    Stripe keeps events for 30 days; the sandbox keeps them until `Sandbox.forget_events`.
    """

    def __init__(self, backend: Backend) -> None:
        self._backend = backend

    def retrieve(self, raw: Mapping[str, Any], id: str) -> Object:
        """Return an event."""
        p.read(raw, {"expand": p.list_of(p.string)})
        return self._backend.store.get("event", id)

    def retrieve_thin(self, raw: Mapping[str, Any], id: str) -> Object:
        """Return a thin event, which exists for each snapshot event."""
        p.read(raw, {})
        try:
            return full_thin_event(self._backend.store.get("event", snapshot_id(id)))
        except StripeError:
            raise not_found("event", id) from None

    def list_all(self, raw: Mapping[str, Any]) -> Object:
        """Return a page of events.

        `delivery_success=false` selects the events that an endpoint has not accepted yet.
        """
        values = p.read(raw, _LIST)
        types = values.get("types") or []
        if values.get("type"):
            if types:
                raise invalid("You may not specify both `type` and `types`.", param="type")
            types = [values["type"]]
        if len(types) > _MAX_TYPES:
            raise invalid(f"You can list up to {_MAX_TYPES} types.", param="types")
        rows = (
            event
            for event in self._backend.store.of_kind("event")
            if (not types or any(_matches(event["type"], pattern) for pattern in types))
            and (
                "delivery_success" not in values
                or (event["pending_webhooks"] == 0) == values["delivery_success"]
            )
        )
        return page(rows, values, "/v1/events")

    def routes(self) -> list[Route]:
        """Return the routes of events."""
        return [
            Route("GET", "/v1/events", self.list_all),
            Route("GET", "/v1/events/{id}", self.retrieve),
            Route("GET", "/v2/core/events/{id}", self.retrieve_thin),
        ]


def _matches(type: str, pattern: str) -> bool:
    """Return whether an event type equals a pattern or belongs to its group, such as `charge.*`."""
    return type.startswith(pattern[:-1]) if pattern.endswith("*") else type == pattern
