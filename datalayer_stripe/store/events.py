"""Events, and the state of each plugin's work on them."""

import asyncio
from collections.abc import AsyncIterator, Collection
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, ClassVar

from pymongo import ASCENDING, DESCENDING, IndexModel
from pymongo.errors import DuplicateKeyError

from ..errors import AlreadyDone
from ..events import Event
from .batched_read import BatchedRead
from .bulk_writes import BulkWrites
from .collection import CollectionSpec
from .errors import translate_errors, translate_stream_errors
from .event_records import DONE, FAILED, HANDLED, REJECTED, EventRecord
from .unit_of_work import Document


@dataclass(frozen=True)
class Mark:
    """Records that a plugin has finished an event, in the same commit as the plugin's writes.

    It is an upsert with the condition that the mark is not set. If it is set, the upsert tries to
    insert a second document with the same `_id`, which fails. In a group, the mark of a new event
    is an insert, which costs the database less.
    """

    has_bulk_form: ClassVar[bool] = True
    """Whether it can be written together with the marks of other units."""
    _final_statuses: ClassVar[frozenset[str]] = frozenset({DONE})

    event: Event
    plugin_name: str
    at: datetime
    is_new_event: bool = field(default=False, kw_only=True)
    """Whether the event probably has no document yet. The result does not depend on it."""
    writes: int | None = field(default=None, kw_only=True)
    """The number of writes that are committed with the mark."""

    @property
    def key(self) -> tuple[str, ...]:
        """The event and the plugin. Units with the same key are not committed together."""
        return self.event.id, self.plugin_name

    async def apply(self, database: Any, mongo_session: Any) -> None:
        """Set the mark.

        Args:
            database: The driver's database.
            mongo_session: The session of the transaction; None on `memory://`.

        Raises:
            AlreadyDone: The mark is already set.
        """
        await upsert_event(database, mongo_session, self.event, *self._update())

    def add_to(self, bulk: BulkWrites) -> None:
        """Add the mark to the writes of a group.

        Args:
            bulk: The writes of the group.
        """
        if self.is_new_event:
            run = {"status": DONE, "at": self.at, "attempts": 1}
            if self.writes is not None:
                run["writes"] = self.writes
            bulk.insert("events", new_document(self.event, self.plugin_name, run))
        else:
            add_upsert(bulk, self.event, *self._update())

    def _update(self) -> tuple[Document, Document]:
        """Return the query that the mark is not set, and the update that sets it."""
        update = run_update(self.event, self.plugin_name, DONE, self.at)
        update["$pull"] = {FAILED: self.plugin_name, REJECTED: self.plugin_name}
        if self.writes is not None:
            update["$set"][f"handlers.{self.plugin_name}.writes"] = self.writes
        return _not_done(self.event, self.plugin_name), update

    async def check(self, database: Any, **options: Any) -> None:
        """Check that the mark is not set.

        Args:
            database: The driver's database.
            options: Keyword arguments of the driver's `find_one`.

        Raises:
            AlreadyDone: The mark is already set.
        """
        found = await database.events.find_one({"_id": self.event.id}, {"handlers": 1}, **options)
        if self.is_set(found):
            raise AlreadyDone

    def is_set(self, document: Document | None) -> bool:
        """Return whether the mark is set.

        Args:
            document: The `_id` and `handlers` of the event's document, or None if it has none.
        """
        handlers = (document or {}).get("handlers") or {}
        return handlers.get(self.plugin_name, {}).get("status") in self._final_statuses


# Stripe keeps events for 30 days. Ours expire much later. Ledger rows never expire, and their ids
# protect the credits permanently.
EVENT_TTL_SECONDS = 180 * 24 * 3600

EVENTS = CollectionSpec(
    "events",
    [
        IndexModel([("object_id", ASCENDING)]),
        IndexModel([("account_uid", ASCENDING), ("received_at", DESCENDING)]),
        IndexModel([("payment_intent_id", ASCENDING)], sparse=True),
        IndexModel([("failed", ASCENDING)], sparse=True),
        IndexModel([("rejected", ASCENDING)], sparse=True),
        IndexModel([("received_at", ASCENDING)], expireAfterSeconds=EVENT_TTL_SECONDS),
    ],
)


class Events:
    """Reads and writes of the collection `events`."""

    def __init__(self, database: Any) -> None:
        self._events = database.events
        self._statuses = BatchedRead(self.runs)

    async def statuses(self, event_id: str) -> dict[str, str] | None:
        """Return the status of each plugin that has run on an event, by name.

        Concurrent calls share a read.

        Args:
            event_id: The event.

        Returns:
            None if the event is unknown.

        Raises:
            StoreUnavailable: The database does not answer.
        """
        return await self._statuses.get(event_id)

    @translate_errors
    async def runs(self, event_ids: Collection[str]) -> dict[str, dict[str, str]]:
        """Return the status of each plugin that has run, by event id and plugin name.

        Unknown events are left out.
        """
        found = self._events.find({"_id": {"$in": list(event_ids)}}, {"handlers": 1})
        return {
            row["_id"]: {name: run["status"] for name, run in (row.get("handlers") or {}).items()}
            async for row in found
        }

    @translate_errors
    async def get(self, event_id: str) -> EventRecord | None:
        """Return the record of an event, or None if it is unknown."""
        found = await self._events.find_one({"_id": event_id})
        return _record(found) if found else None

    @translate_errors
    async def of_object(self, object_id: str, event_type: str) -> EventRecord | None:
        """Return the latest known event of a type about a Stripe object, or None."""
        found = await self._events.find_one(
            {"object_id": object_id, "type": event_type}, sort=[("received_at", -1)]
        )
        return _record(found) if found else None

    @translate_stream_errors
    async def find(
        self,
        *,
        status: str | None = None,
        event_type: str | None = None,
        account_uid: str | None = None,
        since: datetime | None = None,
    ) -> AsyncIterator[EventRecord]:
        """Yield the events that match all given conditions, the newest first.

        Args:
            status: FAILED or REJECTED, for the events that a plugin has failed or rejected.
            event_type: The type.
            account_uid: The account.
            since: The earliest time of receipt.
        """
        query: dict[str, Any] = {}
        if status is not None:
            query[status] = {"$gt": ""}  # Any name. This form uses the index.
        if event_type is not None:
            query["type"] = event_type
        if account_uid is not None:
            # A refund or a dispute does not contain its account, but its payment does.
            owned = await self._events.distinct("object_id", {"account_uid": account_uid})
            query["$or"] = [
                {"account_uid": account_uid},
                {"payment_intent_id": {"$in": [one for one in owned if one]}},
            ]
        if since is not None:
            query["received_at"] = {"$gte": since}
        async for row in self._events.find(query).sort("received_at", -1):
            yield _record(row)

    @translate_errors
    async def unfinished(self, plugin_name: str, since: datetime) -> int:
        """Return how many events a plugin has failed or rejected since then and not finished.

        Args:
            plugin_name: The plugin.
            since: The earliest time of the attempt.
        """
        return int(
            await self._events.count_documents(
                {
                    "$or": [{FAILED: plugin_name}, {REJECTED: plugin_name}],
                    f"handlers.{plugin_name}.at": {"$gte": since},
                }
            )
        )

    @translate_errors
    async def open_count(self, status: str, plugin_name: str) -> int:
        """Return how many events a plugin has failed or rejected and not finished.

        The database reads an index only.

        Args:
            status: FAILED or REJECTED.
            plugin_name: The plugin.
        """
        return int(await self._events.count_documents({status: plugin_name}))

    async def record_failure(
        self, event: Event, plugin_name: str, error: str, at: datetime
    ) -> bool:
        """Record a failed attempt.

        Args:
            event: The event.
            plugin_name: The plugin.
            error: The kind of the error.
            at: The present time.

        Returns:
            False if another delivery has finished or deferred the work.
        """
        return await self._record(event, plugin_name, FAILED, at, error)

    async def record_rejection(
        self, event: Event, plugin_name: str, reason: str, at: datetime
    ) -> bool:
        """Record a rejection.

        Args:
            event: The event.
            plugin_name: The plugin.
            reason: The reason.
            at: The present time.

        Returns:
            False if another delivery has finished or deferred the work.
        """
        return await self._record(event, plugin_name, REJECTED, at, reason)

    @translate_errors
    async def _record(
        self, event: Event, plugin_name: str, status: str, at: datetime, error: str
    ) -> bool:
        update = run_update(event, plugin_name, status, at)
        update["$set"][f"handlers.{plugin_name}.error"] = error
        # The event can be processed again when Stripe no longer has it.
        update["$set"]["payload"] = event.model_dump_json()
        update["$addToSet"] = {status: plugin_name}
        update["$pull"] = {REJECTED if status == FAILED else FAILED: plugin_name}
        # translate_errors limits the loop. An upsert may conflict with a mark that is not durable
        # yet, and that a read does not return.
        while True:
            try:
                await self._events.update_one(not_handled(event, plugin_name), update, upsert=True)
            except DuplicateKeyError:
                # The work is finished or deferred. Or another delivery has just inserted the
                # document; then the next update finds it.
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
    """Return a query for the event's document if the plugin has not finished or deferred it."""
    return {"_id": event.id, f"handlers.{plugin_name}.status": {"$nin": sorted(HANDLED)}}


async def upsert_event(
    database: Any, mongo_session: Any, event: Event, query: Document, update: Document
) -> None:
    """Upsert the event's document, and delete its payload if no plugin has to run again.

    Args:
        database: The driver's database.
        mongo_session: The session of the transaction; None on `memory://`.
        event: The event.
        query: A query for the event's document.
        update: The update.

    Raises:
        AlreadyDone: The document exists and does not match the query.
    """
    try:
        updated = await database.events.update_one(
            query, update, upsert=True, session=mongo_session
        )
    except DuplicateKeyError:
        raise AlreadyDone from None
    if updated.upserted_id is None:
        # The payload may contain a name and an address. It is deleted in the transaction, because a
        # process may crash after the commit, and other deliveries may run concurrently.
        await database.events.update_one(
            _without_open_runs(event), _DELETE_PAYLOAD, session=mongo_session
        )


def add_upsert(bulk: BulkWrites, event: Event, query: Document, update: Document) -> None:
    """Add the writes of :func:`upsert_event` to those of a group."""
    bulk.update("events", query, update, upsert=True)
    bulk.update("events", _without_open_runs(event), _DELETE_PAYLOAD)


_DELETE_PAYLOAD = {"$unset": {"payload": ""}}


def _without_open_runs(event: Event) -> Document:
    """Return a query for the event's document if no plugin has to run again."""
    none = {"$exists": False}
    return {"_id": event.id, f"{FAILED}.0": none, f"{REJECTED}.0": none}


def new_document(event: Event, plugin_name: str, run: Document) -> dict[str, Any]:
    """Return the document of an event that one plugin has run on.

    Args:
        event: The event.
        plugin_name: The plugin.
        run: The state of the plugin's work, with its time `at`.
    """
    return {
        "_id": event.id,
        **_fields(event),
        "received_at": run["at"],
        "handlers": {plugin_name: run},
    }


def run_update(event: Event, plugin_name: str, status: str, at: datetime) -> dict[str, Any]:
    """Return the update that counts an attempt of a plugin and sets its status.

    Args:
        event: The event.
        plugin_name: The plugin.
        status: The new status.
        at: The present time.
    """
    handler = f"handlers.{plugin_name}"
    return {
        "$setOnInsert": {**_fields(event), "received_at": at},
        "$set": {f"{handler}.status": status, f"{handler}.at": at},
        "$inc": {f"{handler}.attempts": 1},
    }


def _fields(event: Event) -> dict[str, Any]:
    """Return the fields of the event's document that never change."""
    fields: dict[str, Any] = {
        "type": event.type,
        "created": event.created,
        "livemode": event.livemode,
        "api_version": event.api_version,
        "object_id": event.object_id,
        "account_uid": event.account_uid,
    }
    if payment_intent_id := event.payment_intent_id:
        fields["payment_intent_id"] = payment_intent_id
    return fields
