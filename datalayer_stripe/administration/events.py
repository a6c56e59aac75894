"""Received events: lists, one event, and its replay."""

import logging
from datetime import datetime
from typing import Literal

from ..errors import NotFound, StripeObjectMissing
from ..store import Store
from ..store.event_lists import EventFilter
from ..store.event_records import EventRecord
from ..store.positions import EventPosition, JobPosition
from ..stripe_api.dashboard import Dashboard
from ..webhooks.processor import EventProcessor
from .cursors import decode_cursor, encode_cursor
from .views import EventList, EventView, Replay

logger = logging.getLogger(__name__)

EventStatus = Literal["all", "failed", "rejected", "deferred"]
"""`deferred` are the events that have a job, in the order of their ids."""


class OperatorEvents:
    """Lists and replays events for an operator.

    Args:
        store: The database.
        processor: Processes the events that are replayed.
        dashboard: Makes links to Stripe's dashboard.
    """

    def __init__(self, store: Store, processor: EventProcessor, dashboard: Dashboard) -> None:
        self._store = store
        self._processor = processor
        self._dashboard = dashboard

    async def page(
        self,
        *,
        status: EventStatus = "all",
        event_type: str | None = None,
        account_uid: str | None = None,
        limit: int,
        cursor: str | None = None,
    ) -> EventList:
        """Return a page of events, the newest first.

        Args:
            status: Which events.
            event_type: Only this type. It has no meaning for deferred events.
            account_uid: Only this account, with the refunds and disputes of its payments. It has
                no meaning for deferred events.
            limit: The maximum number of events.
            cursor: The `next_cursor` of the page before.

        Raises:
            InvalidRequest: The cursor is not valid.
            StoreUnavailable: The database does not answer in time.
        """
        lists = self._store.event_lists
        if status == "deferred":
            waiting = await lists.deferred(limit=limit, after=decode_cursor(cursor, JobPosition))
            return self._list(waiting.records, encode_cursor(waiting.next))
        wanted = EventFilter(None if status == "all" else status, event_type, account_uid)
        page = await lists.page(wanted, limit=limit, after=decode_cursor(cursor, EventPosition))
        return self._list(page.records, encode_cursor(page.next))

    async def find(
        self,
        *,
        status: EventStatus = "all",
        event_type: str | None = None,
        account_uid: str | None = None,
        since: datetime | None = None,
        limit: int,
    ) -> list[EventView]:
        """Return the first events of all pages.

        Args:
            status: As for :meth:`page`.
            event_type: As for :meth:`page`.
            account_uid: As for :meth:`page`.
            since: The earliest time of receipt. It has no meaning for deferred events.
            limit: The maximum number of events, of any size.

        Raises:
            StoreUnavailable: The database does not answer in time.
        """
        lists = self._store.event_lists
        if status == "deferred":
            records = lists.find_deferred()
        else:
            records = lists.find(
                status=None if status == "all" else status,
                event_type=event_type,
                account_uid=account_uid,
                since=since,
            )
        found: list[EventView] = []
        async for record in records:
            found.append(self.view(record))
            if len(found) == limit:
                break
        return found

    async def get(self, event_id: str) -> EventView | None:
        """Return an event, or None if it is not in the database."""
        record = await self._store.events.get(event_id)
        return self.view(record) if record else None

    async def replay(self, event_id: str, *, operator: str) -> Replay:
        """Process an event again, as if Stripe had just delivered it. Safe to repeat.

        Args:
            event_id: The event, `evt_…`, in the database or at Stripe.
            operator: Who replays it, for the log.

        Raises:
            NotFound: Neither the database nor Stripe has the event.
            OtherMode: The event in the database is of the other mode.
            RequestError: Stripe or the database does not answer.
        """
        processed, outcome = event_id, "error"
        try:
            processed, outcome = await self._processor.replay(event_id)
        except StripeObjectMissing:
            outcome = "not found"
            raise NotFound(f"Event {event_id} is not in the database or at Stripe.") from None
        finally:
            logger.info(
                "event replayed",
                extra={"event_id": event_id, "outcome": str(outcome), "operator": operator},
            )
        record = await self._store.events.get(processed)
        return Replay(
            event_id=processed, outcome=outcome, handlers=record.handlers if record else {}
        )

    def view(self, record: EventRecord) -> EventView:
        """Return the view of a stored event."""
        return EventView(
            **{name: value for name, value in record if name != "payload"},
            dashboard_url=self._dashboard.url(record.id),
        )

    def _list(self, records: list[EventRecord], next_cursor: str | None) -> EventList:
        return EventList(events=tuple(map(self.view, records)), next_cursor=next_cursor)
