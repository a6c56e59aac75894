"""State shared by all resources of one sandbox: clock, identifiers, objects and events."""

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from ..shapes.objects import Object
from .clock import Clock
from .ids import Ids
from .store import Store

API_VERSION = "2026-10-28.endive"


class Backend:
    """The state of one sandbox.

    Attributes:
        clock: the sandbox's clock.
        ids: generates identifiers.
        store: the objects.
        events: the event objects, oldest first (https://docs.stripe.com/api/events).
        url: the sandbox's base URL; empty until the server listens.

    Args:
        clock: returns the time in epoch seconds.
        seed: makes identifiers reproducible.
    """

    def __init__(self, clock: Callable[[], float], seed: int | None = None) -> None:
        self.clock = Clock(clock)
        self.ids = Ids(seed)
        self.store = Store()
        self.events: list[Object] = []
        self.url = ""
        self._listeners: list[Callable[[Object], None]] = []
        self._request: dict[str, str | None] = {"id": None, "idempotency_key": None}

    def now(self) -> int:
        """Return the sandbox's time in whole epoch seconds, as in Stripe's `created`."""
        return int(self.clock())

    @contextmanager
    def request_context(self, request_id: str, idempotency_key: str | None) -> Iterator[None]:
        """Attribute the events emitted in this context to an API request.

        Args:
            request_id: `req_…`.
            idempotency_key: the request's key, if it has one.
        """
        before = self._request
        self._request = {"id": request_id, "idempotency_key": idempotency_key}
        try:
            yield
        finally:
            self._request = before

    def on_event(self, listener: Callable[[Object], None]) -> None:
        """Call `listener` with each new event."""
        self._listeners.append(listener)

    def emit(self, type: str, obj: Object, previous: Object | None = None) -> Object:
        """Create an event with a snapshot of an object, and pass it to the listeners.

        Args:
            type: the event's type, such as `price.created`.
            obj: the object.
            previous: the `previous_attributes` of an update.
        """
        data: Object = {"object": copy.deepcopy(obj)}
        if previous is not None:
            data["previous_attributes"] = previous
        event: Object = {
            "id": self.ids.new("evt"),
            "object": "event",
            "api_version": API_VERSION,
            "created": self.now(),
            "data": data,
            "livemode": False,
            "pending_webhooks": 0,
            "request": dict(self._request),
            "type": type,
        }
        return self.record(event)

    def record(self, event: Object) -> Object:
        """Store an event unchanged and pass it to the listeners."""
        self.events.append(event)
        self.store.put(event)
        for listener in self._listeners:
            listener(event)
        return event

    def create(self, obj: Object, event: str | None = None) -> Object:
        """Store a new object and emit its event.

        Args:
            obj: the object.
            event: the event's type; None: emit no event.
        """
        self.store.put(obj)
        if event:
            self.emit(event, obj)
        return obj

    def update(self, obj: Object, changes: dict[str, Any], event: str | None = None) -> Object:
        """Apply changes to an object and, if any value changed, emit its event.

        Args:
            obj: the stored object.
            changes: the new values by field.
            event: the event's type; None: emit no event.
        """
        previous = self.store.change(obj, changes)
        if event and previous:
            self.emit(event, obj, previous)
        return obj
