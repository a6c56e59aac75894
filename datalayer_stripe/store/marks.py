"""The mark that a plugin has finished an event."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, ClassVar

from ..errors import AlreadyDone
from ..events import Event
from .bulk_writes import BulkWrites
from .event_records import DONE, FAILED, REJECTED
from .event_writes import add_upsert, new_document, not_done, run_update, upsert_event
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
        return not_done(self.event, self.plugin_name), update

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
