"""The events that we have worked on, and which plugin has finished which."""

import asyncio
from collections.abc import AsyncIterator, Collection, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from pydantic import Field
from pymongo.errors import DuplicateKeyError

from ..errors import AlreadyDone
from ..events import Event
from ..models import Model
from ..stripe_api.objects import account_uid_of, payment_intent_id_of
from .errors import translated, translated_stream
from .unit_of_work import Document

DONE = "done"
DEFERRED = "deferred"
FAILED = "failed"
REJECTED = "rejected"

HANDLED = frozenset({DONE, DEFERRED})
"""The statuses that leave a delivery nothing to do."""


class HandlerRun(Model):
    """How one plugin's work on an event stands."""

    status: str
    at: datetime
    attempts: int = 0
    error: str | None = None
    writes: int | None = None
    """How many writes the run has recorded that finished it; None where it has not."""

    @property
    def summary(self) -> str:
        """The status in words: also whether the plugin found nothing to write."""
        return "done, nothing to write" if (self.status, self.writes) == (DONE, 0) else self.status


class EventRecord(Model):
    """What is stored of an event.

    `payload` is the event itself as JSON text, stored while a plugin has failed or rejected it.
    Text and not a document: MongoDB refuses integers above 64 bits, NUL in keys and deep nesting.
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
        """The event itself, as it was verified; None where it is not stored any more."""
        return None if self.payload is None else Event.model_validate_json(self.payload)

    def is_rejected_by(self, plugin_names: Collection[str]) -> bool:
        """Whether one of these plugins has rejected it, and none of them may still finish it."""
        statuses = {
            self.handlers[name].status if name in self.handlers else None for name in plugin_names
        }
        return REJECTED in statuses and statuses <= {DONE, REJECTED}

    def is_done(self, plugin_names: Collection[str]) -> bool:
        """Return whether all of these plugins have finished it."""
        done = {name for name, run in self.handlers.items() if run.status == DONE}
        return done.issuperset(plugin_names)


@dataclass(frozen=True)
class Mark:
    """Says that a plugin has finished an event, in the very commit that holds its effects.

    An upsert that looks for the event *without* the mark: where the mark is there, the insert
    meets the unique `_id` and is refused.
    """

    event: Event
    plugin_name: str
    at: datetime
    writes: int | None = field(default=None, kw_only=True)
    """How many writes are committed with it."""

    @property
    def key(self) -> tuple[str, ...]:
        """What is marked: the event and the plugin. A group of commits has each once."""
        return self.event.id, self.plugin_name

    async def apply(self, database: Any, mongo_session: Any) -> None:
        """Raises AlreadyDone when the mark is there."""
        update = updated(self.event, self.plugin_name, DONE, self.at)
        update["$pull"] = {FAILED: self.plugin_name, REJECTED: self.plugin_name}
        if self.writes is not None:
            update["$set"][f"handlers.{self.plugin_name}.writes"] = self.writes
        await settle(
            database, mongo_session, self.event, _not_done(self.event, self.plugin_name), update
        )

    async def check(self, database: Any, **options: Any) -> None:
        """Raises AlreadyDone when the mark is there. Options as for the driver's `find_one`."""
        done = {"_id": self.event.id, f"handlers.{self.plugin_name}.status": DONE}
        if await database.events.find_one(done, {"_id": 1}, **options) is not None:
            raise AlreadyDone


class Events:
    def __init__(self, database: Any) -> None:
        self._events = database.events

    @translated
    async def runs(self, event_ids: Sequence[str]) -> dict[str, dict[str, str]]:
        """For each of these events that we know, the status of each plugin that has run."""
        found = self._events.find({"_id": {"$in": list(event_ids)}}, {"handlers": 1})
        return {
            row["_id"]: {name: run["status"] for name, run in (row.get("handlers") or {}).items()}
            async for row in found
        }

    @translated
    async def get(self, event_id: str) -> EventRecord | None:
        found = await self._events.find_one({"_id": event_id})
        return _record(found) if found else None

    @translated
    async def of_object(self, object_id: str, event_type: str) -> EventRecord | None:
        """The latest event of this type that we know of a Stripe object."""
        found = await self._events.find_one(
            {"object_id": object_id, "type": event_type}, sort=[("received_at", -1)]
        )
        return _record(found) if found else None

    @translated_stream
    async def find(
        self,
        *,
        status: str | None = None,
        event_type: str | None = None,
        account_uid: str | None = None,
        since: datetime | None = None,
    ) -> AsyncIterator[EventRecord]:
        """The events that match, newest first. `status` is FAILED or REJECTED."""
        query: dict[str, Any] = {}
        if status is not None:
            query[status] = {"$gt": ""}  # any name; this form uses the index
        if event_type is not None:
            query["type"] = event_type
        if account_uid is not None:
            # A refund or a dispute names no account, and its payment does.
            owned = await self._events.distinct("object_id", {"account_uid": account_uid})
            query["$or"] = [
                {"account_uid": account_uid},
                {"payment_intent_id": {"$in": [one for one in owned if one]}},
            ]
        if since is not None:
            query["received_at"] = {"$gte": since}
        async for row in self._events.find(query).sort("received_at", -1):
            yield _record(row)

    @translated
    async def unfinished(self, plugin_name: str, since: datetime) -> int:
        """How many events a plugin has failed or rejected since then, and not finished after."""
        return int(
            await self._events.count_documents(
                {
                    "$or": [{FAILED: plugin_name}, {REJECTED: plugin_name}],
                    f"handlers.{plugin_name}.at": {"$gte": since},
                }
            )
        )

    @translated
    async def open_count(self, status: str, plugin_name: str) -> int:
        """How many events a plugin has failed or rejected and not finished since.

        `status` is FAILED or REJECTED. The database reads its index and no event.
        """
        return int(await self._events.count_documents({status: plugin_name}))

    async def record_failure(
        self, event: Event, plugin_name: str, error: str, at: datetime
    ) -> bool:
        """Keep the attempt and its error. False when another delivery has it in hand since."""
        return await self._record(event, plugin_name, FAILED, at, error)

    async def record_rejection(
        self, event: Event, plugin_name: str, reason: str, at: datetime
    ) -> bool:
        """Keep the rejection. False when another delivery has it in hand since."""
        return await self._record(event, plugin_name, REJECTED, at, reason)

    @translated
    async def _record(
        self, event: Event, plugin_name: str, status: str, at: datetime, error: str
    ) -> bool:
        update = updated(event, plugin_name, status, at)
        update["$set"][f"handlers.{plugin_name}.error"] = error
        # To run it again when Stripe no longer has it.
        update["$set"]["payload"] = event.model_dump_json()
        update["$addToSet"] = {status: plugin_name}
        update["$pull"] = {REJECTED if status == FAILED else FAILED: plugin_name}
        # translated bounds it: a mark may be met here before it is durable, and so not be read.
        while True:
            try:
                await self._events.update_one(not_handled(event, plugin_name), update, upsert=True)
            except DuplicateKeyError:
                # It is in hand by now; or another delivery has just inserted the document, and
                # the update finds it.
                runs = await self.runs([event.id])
                if runs.get(event.id, {}).get(plugin_name) in HANDLED:
                    return False
                await asyncio.sleep(0.05)
            else:
                return True


def _record(row: dict[str, Any]) -> EventRecord:
    return EventRecord.model_validate({**row, "id": row["_id"]})


def _not_done(event: Event, plugin_name: str) -> dict[str, Any]:
    return {"_id": event.id, f"handlers.{plugin_name}.status": {"$ne": DONE}}


def not_handled(event: Event, plugin_name: str) -> dict[str, Any]:
    """The event's document, unless the plugin has finished it or put it off."""
    return {"_id": event.id, f"handlers.{plugin_name}.status": {"$nin": sorted(HANDLED)}}


async def settle(
    database: Any, mongo_session: Any, event: Event, query: Document, update: Document
) -> None:
    """Upsert the event's document, and forget its payload when nothing is left to run for it.

    Raises AlreadyDone where the document is there and does not match the query.
    """
    try:
        settled = await database.events.update_one(
            query, update, upsert=True, session=mongo_session
        )
    except DuplicateKeyError:
        raise AlreadyDone from None
    if settled.upserted_id is None:
        # Keep no longer what may hold somebody's name and address. Here and not after the
        # commit, where a process may die and other deliveries race.
        none = {"$exists": False}
        nothing_left = {"_id": event.id, f"{FAILED}.0": none, f"{REJECTED}.0": none}
        await database.events.update_one(
            nothing_left, {"$unset": {"payload": ""}}, session=mongo_session
        )


def updated(event: Event, plugin_name: str, status: str, at: datetime) -> dict[str, Any]:
    """The update that counts an attempt of a plugin's and says how it ended."""
    handler = f"handlers.{plugin_name}"
    inserted: Document = {
        "type": event.type,
        "created": event.created,
        "livemode": event.livemode,
        "api_version": event.api_version,
        "object_id": event.object_id,
        "account_uid": account_uid_of(event.object),
        "received_at": at,
    }
    if payment_intent_id := payment_intent_id_of(event.object):
        inserted = {**inserted, "payment_intent_id": payment_intent_id}
    return {
        "$setOnInsert": inserted,
        "$set": {f"{handler}.status": status, f"{handler}.at": at},
        "$inc": {f"{handler}.attempts": 1},
    }
