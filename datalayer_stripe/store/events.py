"""Events, and the state of each plugin's work on them."""

import asyncio
from collections.abc import Collection
from datetime import datetime
from typing import Any

from pymongo import ASCENDING, DESCENDING, IndexModel
from pymongo.errors import DuplicateKeyError

from ..events import Event
from .batched_read import BatchedRead
from .collection import CollectionSpec
from .driver import aggregate
from .errors import translate_errors
from .event_records import FAILED, HANDLED, REJECTED, EventRecord, record_of
from .event_writes import not_handled, run_update

# Stripe keeps events for 30 days. Ours expire much later. Ledger rows never expire, and their ids
# protect the credits permanently.
EVENT_TTL_SECONDS = 180 * 24 * 3600

# How many open events of a plugin are read to find the oldest one.
MAX_OPEN_EVENTS_READ = 1000

EVENTS = CollectionSpec(
    "events",
    [
        IndexModel([("object_id", ASCENDING)]),
        IndexModel([("account_uid", ASCENDING), ("received_at", DESCENDING)]),
        IndexModel([("payment_intent_id", ASCENDING)], sparse=True),
        IndexModel([("failed", ASCENDING)], sparse=True),
        IndexModel([("rejected", ASCENDING)], sparse=True),
        IndexModel([("received_at", ASCENDING)], expireAfterSeconds=EVENT_TTL_SECONDS),
        # The open events in the order of their receipt. An event that succeeds is in none of them.
        *(
            IndexModel(
                [("received_at", DESCENDING)],
                name=f"{status}_received_at",
                partialFilterExpression={status: {"$gt": ""}},
            )
            for status in (FAILED, REJECTED)
        ),
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

    async def needing_no_delivery(self, event_ids: Collection[str]) -> set[str]:
        """Return those events that are known and that no plugin has failed.

        A failed one needs a further delivery or a reconciliation.

        Args:
            event_ids: The events.

        Raises:
            StoreUnavailable: The database does not answer.
        """
        runs = await self.runs(event_ids)
        return {event_id for event_id, run in runs.items() if FAILED not in run.values()}

    @translate_errors
    async def get(self, event_id: str) -> EventRecord | None:
        """Return the record of an event, or None if it is unknown."""
        found = await self._events.find_one({"_id": event_id})
        return record_of(found) if found else None

    @translate_errors
    async def of_object(self, object_id: str, event_type: str) -> EventRecord | None:
        """Return the latest known event of a type about a Stripe object, or None."""
        found = await self._events.find_one(
            {"object_id": object_id, "type": event_type}, sort=[("received_at", -1)]
        )
        return record_of(found) if found else None

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

    @translate_errors
    async def oldest_open(self, status: str, plugin_name: str) -> datetime | None:
        """Return when the oldest event was received that a plugin has failed or rejected.

        The database reads up to MAX_OPEN_EVENTS_READ events, in the order of the index. Events
        with the same key are in it in the order in which they were inserted.

        Args:
            status: FAILED or REJECTED.
            plugin_name: The plugin.

        Returns:
            None if there is none.
        """
        found = await aggregate(
            self._events,
            [
                {"$match": {status: plugin_name}},
                {"$limit": MAX_OPEN_EVENTS_READ},
                {"$group": {"_id": None, "oldest": {"$min": "$received_at"}}},
            ],
        )
        return found[0]["oldest"] if found else None

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
