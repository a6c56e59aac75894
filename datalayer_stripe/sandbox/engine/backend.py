"""What all resources of one sandbox share: time, identifiers, objects and events."""

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from ..shapes.objects import Object
from .clock import Clock
from .ids import Ids
from .store import Store

API_VERSION = "2026-08-26.dahlia"


class Backend:
    """The state of one sandbox.

    Attributes:
        clock: the sandbox's time, in epoch seconds.
        ids: the source of identifiers.
        store: the objects.
        events: the event objects, oldest first (https://docs.stripe.com/api/events).
        url: where the sandbox listens, once it has started.
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
        """Return the sandbox's time in whole seconds, as Stripe's `created`."""
        return int(self.clock())

    @contextmanager
    def requested(self, request_id: str, idempotency_key: str | None) -> Iterator[None]:
        """Name the API request that causes the events emitted meanwhile."""
        before = self._request
        self._request = {"id": request_id, "idempotency_key": idempotency_key}
        try:
            yield
        finally:
            self._request = before

    def on_event(self, listener: Callable[[Object], None]) -> None:
        """Call `listener` with each event from now on."""
        self._listeners.append(listener)

    def emit(self, type: str, obj: Object, previous: Object | None = None) -> Object:
        """Record an event with a snapshot of `obj` and hand it to the listeners."""
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
        """Keep an event as it is and hand it to the listeners."""
        self.events.append(event)
        self.store.put(event)
        for listener in self._listeners:
            listener(event)
        return event

    def create(self, obj: Object, event: str | None = None) -> Object:
        """Store a new object and emit its event."""
        self.store.put(obj)
        if event:
            self.emit(event, obj)
        return obj

    def update(self, obj: Object, changes: dict[str, Any], event: str | None = None) -> Object:
        """Change an object and emit its event with `previous_attributes`, if anything changed."""
        previous = self.store.change(obj, changes)
        if event and previous:
            self.emit(event, obj, previous)
        return obj
