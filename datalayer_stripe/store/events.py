"""The events that we have worked on, and which plugin has finished which."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from pymongo.errors import DuplicateKeyError

from ..errors import DatalayerStripeError
from ..events import Event
from .errors import translated
from .unit import Document

DONE = "done"
FAILED = "failed"
REJECTED = "rejected"


class AlreadyDone(DatalayerStripeError):
    """Another delivery of this event has committed this plugin's work."""


@dataclass(frozen=True)
class Mark:
    """Says that a plugin has finished an event, in the very commit that holds its effects.

    An upsert that looks for the event *without* the mark: where the mark is there, the insert
    meets the unique `_id` and is refused.
    """

    event: Event
    plugin_name: str
    at: datetime

    @property
    def key(self) -> tuple[str, str]:
        """What is marked: the event and the plugin."""
        return self.event.id, self.plugin_name

    async def apply(self, database: Any, mongo_session: Any) -> None:
        """Raises AlreadyDone when the mark is there."""
        update = _update(self.event, self.plugin_name, DONE, self.at)
        update["$pull"] = {FAILED: self.plugin_name, REJECTED: self.plugin_name}
        try:
            await database.events.update_one(
                _not_done(self.event, self.plugin_name), update, upsert=True, session=mongo_session
            )
        except DuplicateKeyError:
            raise AlreadyDone from None

    async def check(self, database: Any) -> None:
        """Raises AlreadyDone when the mark is there."""
        done = {"_id": self.event.id, f"handlers.{self.plugin_name}.status": DONE}
        if await database.events.find_one(done, {"_id": 1}) is not None:
            raise AlreadyDone


class Events:
    def __init__(self, database: Any) -> None:
        self._events = database.events

    @translated
    async def finished(self, event_id: str) -> frozenset[str]:
        """The names of the plugins that have finished this event."""
        found = await self._events.find_one({"_id": event_id}, {"handlers": 1})
        handlers = (found or {}).get("handlers") or {}
        return frozenset(name for name, run in handlers.items() if run["status"] == DONE)

    async def record_failure(
        self, event: Event, plugin_name: str, error: str, at: datetime
    ) -> bool:
        """Keep the attempt and its error. False when another delivery has finished it since."""
        return await self._record(event, plugin_name, FAILED, at, error)

    async def record_rejection(
        self, event: Event, plugin_name: str, reason: str, at: datetime
    ) -> bool:
        """Keep the rejection. False when another delivery has finished it since."""
        return await self._record(event, plugin_name, REJECTED, at, reason)

    @translated
    async def _record(
        self, event: Event, plugin_name: str, status: str, at: datetime, error: str
    ) -> bool:
        update = _update(event, plugin_name, status, at)
        update["$set"][f"handlers.{plugin_name}.error"] = error
        update["$addToSet"] = {status: plugin_name}
        update["$pull"] = {REJECTED if status == FAILED else FAILED: plugin_name}
        while True:
            try:
                await self._events.update_one(_not_done(event, plugin_name), update, upsert=True)
            except DuplicateKeyError:
                # It is done by now; or another delivery has just inserted the document, and the
                # update finds it.
                if plugin_name in await self.finished(event.id):
                    return False
            else:
                return True


def _not_done(event: Event, plugin_name: str) -> dict[str, Any]:
    return {"_id": event.id, f"handlers.{plugin_name}.status": {"$ne": DONE}}


def _update(event: Event, plugin_name: str, status: str, at: datetime) -> dict[str, Any]:
    handler = f"handlers.{plugin_name}"
    inserted: Document = {
        "type": event.type,
        "created": event.created,
        "livemode": event.livemode,
        "api_version": event.api_version,
        "object_id": event.object_id,
        "received_at": at,
    }
    return {
        "$setOnInsert": inserted,
        "$set": {f"{handler}.status": status, f"{handler}.at": at},
        "$inc": {f"{handler}.attempts": 1},
    }
