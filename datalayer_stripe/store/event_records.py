"""Stored state of an event, and the statuses of the plugins' work on it."""

from collections.abc import Collection
from datetime import datetime
from typing import Any

from pydantic import Field

from ..events import Event
from ..models import Model

DONE = "done"
DEFERRED = "deferred"
FAILED = "failed"
REJECTED = "rejected"

HANDLED = frozenset({DONE, DEFERRED})
"""A delivery does not run a plugin with one of these statuses."""


class HandlerRun(Model):
    """State of one plugin's work on an event."""

    status: str
    at: datetime
    attempts: int = 0
    error: str | None = None
    writes: int | None = None
    """The number of writes that the last run has committed; None if it has committed none yet."""

    @property
    def summary(self) -> str:
        """The status for people. It says if the plugin had nothing to write."""
        return "done, nothing to write" if (self.status, self.writes) == (DONE, 0) else self.status


class EventRecord(Model):
    """Stored state of an event.

    `payload` is the event as JSON text, stored while a plugin has failed or rejected it. It is not
    a document, because MongoDB refuses integers above 64 bits, NUL in keys and deep nesting.
    """

    id: str
    type: str
    created: int
    livemode: bool
    api_version: str | None = None
    object_id: str | None = None
    account_uid: str | None = None
    received_at: datetime
    handlers: dict[str, HandlerRun] = Field(default_factory=dict)
    failed: tuple[str, ...] = ()
    rejected: tuple[str, ...] = ()
    payload: str | None = Field(default=None, repr=False)

    @property
    def event(self) -> Event | None:
        """The event as it was verified; None if it is no longer stored."""
        return None if self.payload is None else Event.model_validate_json(self.payload)

    def is_rejected_by(self, plugin_names: Collection[str]) -> bool:
        """Return whether one of these plugins has rejected it, and none has still to run."""
        statuses = {
            self.handlers[name].status if name in self.handlers else None for name in plugin_names
        }
        return REJECTED in statuses and statuses <= {DONE, REJECTED}

    def is_done(self, plugin_names: Collection[str]) -> bool:
        """Return whether all of these plugins have finished the event."""
        done = {name for name, run in self.handlers.items() if run.status == DONE}
        return done.issuperset(plugin_names)


def record_of(row: dict[str, Any]) -> EventRecord:
    """Return the record that a document holds."""
    return EventRecord.model_validate({**row, "id": row["_id"]})
