"""Lists of events for operators, and the number of open events of each day."""

from collections.abc import AsyncIterator, Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

from .driver import Document, aggregate
from .errors import translate_errors
from .event_records import EventRecord, record_of
from .positions import MAX_IDS, EventPosition, JobPosition, milliseconds

MAX_SCANNED = 5000
"""Maximum number of events that one page of a type looks at."""

MAX_READ_MS = 5000
"""Timeout of a read on the server, in milliseconds."""

_PAGE = 500


@dataclass(frozen=True)
class EventFilter:
    """Conditions on events. None is no condition.

    Attributes:
        status: FAILED or REJECTED, for the events that a plugin has failed or rejected.
        event_type: The type.
        account_uid: The account, with the refunds and disputes of its payments.
        since: The earliest time of receipt.
    """

    status: str | None = None
    event_type: str | None = None
    account_uid: str | None = None
    since: datetime | None = None


class EventPage(NamedTuple):
    """A page of events, without their payloads, and the position of the next page, or None."""

    records: list[EventRecord]
    next: EventPosition | None


class DeferredPage(NamedTuple):
    """A page of events with jobs, without their payloads, and the next position, or None."""

    records: list[EventRecord]
    next: JobPosition | None


class OpenDay(NamedTuple):
    """The number of open events that were received on a day, `2026-11-01`, and the first time."""

    day: str
    number: int
    oldest: datetime


class EventLists:
    """Reader of lists of the collections `events` and `jobs`. Each page reads an index in order."""

    def __init__(self, database: Any) -> None:
        self._events = database.events
        self._jobs = database.jobs

    async def find(
        self,
        *,
        status: str | None = None,
        event_type: str | None = None,
        account_uid: str | None = None,
        since: datetime | None = None,
    ) -> AsyncIterator[EventRecord]:
        """Yield all events that match, as the pages of :meth:`page`.

        Args:
            status: As in :class:`EventFilter`.
            event_type: As in :class:`EventFilter`.
            account_uid: As in :class:`EventFilter`.
            since: As in :class:`EventFilter`.

        Raises:
            StoreUnavailable: The database does not answer.
        """
        wanted = EventFilter(status, event_type, account_uid, since)
        page = await self.page(wanted, limit=_PAGE)
        while True:
            for record in page.records:
                yield record
            if page.next is None:
                return
            page = await self.page(wanted, limit=_PAGE, after=page.next)

    @translate_errors
    async def page(
        self, wanted: EventFilter, *, limit: int, after: EventPosition | None = None
    ) -> EventPage:
        """Return the events that match all conditions, the newest first.

        No index has the type: at most MAX_SCANNED events are compared with it, so a page of a rare
        type may be short although there is a next one.

        Args:
            wanted: The conditions.
            limit: The maximum number of events.
            after: The position of this page; None for the first page.
        """
        query = await self._query(wanted, after)
        stages: list[Document] = [{"$match": query}, {"$sort": {"received_at": -1}}]
        if wanted.event_type is not None:
            stages += [{"$limit": MAX_SCANNED}, {"$match": {"type": wanted.event_type}}]
        stages += [{"$limit": limit + 1}, {"$project": {"payload": 0}}]
        rows = await aggregate(self._events, stages, maxTimeMS=MAX_READ_MS)
        records = [record_of(row) for row in rows[:limit]]
        if len(rows) > limit:
            return EventPage(records, _position(records[-1].received_at, records, after))
        if wanted.event_type is None:
            return EventPage(records, None)
        cursor = self._events.find(query, {"received_at": 1}, max_time_ms=MAX_READ_MS)
        beyond = await cursor.sort("received_at", -1).skip(MAX_SCANNED).limit(1).to_list(None)
        if not beyond:
            return EventPage(records, None)
        return EventPage(records, _position(beyond[0]["received_at"], records, after))

    async def _query(self, wanted: EventFilter, after: EventPosition | None) -> Document:
        """Return the conditions that an index has: all but the type."""
        query: Document = {}
        times: Document = {}
        if wanted.status is not None:
            query[wanted.status] = {"$gt": ""}  # Any name. This form uses the index.
        if wanted.account_uid is not None:
            # A refund or a dispute does not contain its account, but its payment does.
            account = {"account_uid": wanted.account_uid}
            owned = await self._events.distinct("object_id", account)
            payments = {"payment_intent_id": {"$in": [one for one in owned if one]}}
            query["$or"] = [account, payments]
        if wanted.since is not None:
            times["$gte"] = wanted.since
        if after is not None:
            times["$lte"] = after.received_at
            query["_id"] = {"$nin": list(after.ids)}
        return {**query, "received_at": times} if times else query

    @translate_errors
    async def deferred(self, *, limit: int, after: JobPosition | None = None) -> DeferredPage:
        """Return the events that have jobs, in the order of their ids.

        Args:
            limit: The maximum number of events.
            after: The position of this page; None for the first page.
        """
        # The id of a job is the event's, a colon and the plugin. A semicolon follows the colon.
        query = {} if after is None else {"_id": {"$gte": f"{after.event_id};"}}
        stages: list[Document] = [
            {"$match": query},
            {"$sort": {"_id": 1}},
            {"$limit": limit + 1},
            {"$project": {"event_id": {"$arrayElemAt": [{"$split": ["$_id", ":"]}, 0]}}},
            {
                "$lookup": {
                    "from": "events",
                    "localField": "event_id",
                    "foreignField": "_id",
                    "as": "events",
                }
            },
        ]
        rows = await aggregate(self._jobs, stages, maxTimeMS=MAX_READ_MS)
        found = {row["event_id"]: row["events"] for row in rows[:limit]}
        records = [
            record_of({**event, "payload": None}) for events in found.values() for event in events
        ]
        is_last = len(rows) <= limit
        return DeferredPage(
            records, None if is_last else JobPosition(event_id=rows[limit - 1]["event_id"])
        )

    async def find_deferred(self) -> AsyncIterator[EventRecord]:
        """Yield all events that have jobs, as the pages of :meth:`deferred`.

        Raises:
            StoreUnavailable: The database does not answer.
        """
        page = await self.deferred(limit=_PAGE)
        while True:
            for record in page.records:
                yield record
            if page.next is None:
                return
            page = await self.deferred(limit=_PAGE, after=page.next)

    @translate_errors
    async def open_by_day(self, status: str) -> list[OpenDay]:
        """Return how many events are open, by the UTC day of their receipt, the oldest day first.

        Args:
            status: FAILED or REJECTED.
        """
        day = {"$dateToString": {"format": "%Y-%m-%d", "date": "$received_at"}}
        stages: list[Document] = [
            {"$match": {status: {"$gt": ""}}},
            {"$group": {"_id": day, "number": {"$sum": 1}, "oldest": {"$min": "$received_at"}}},
        ]
        found = await aggregate(self._events, stages, maxTimeMS=MAX_READ_MS)
        days = [OpenDay(row["_id"], row["number"], row["oldest"]) for row in found]
        return sorted(days, key=lambda one: one.day)


def _position(
    at: datetime, records: Collection[EventRecord], before: EventPosition | None
) -> EventPosition:
    """Return the position at a time, after those of the records that have it."""
    ids = [one.id for one in records if one.received_at == at]
    if before is not None and before.received_at == at:
        ids = [*before.ids, *ids]
    if len(ids) > MAX_IDS:
        # No service receives so many in a millisecond. The list continues with the one before it.
        return EventPosition(at=milliseconds(at) - 1)
    return EventPosition(at=milliseconds(at), ids=tuple(ids))
