"""Work that one process at a time does, every so often."""

from datetime import datetime, timedelta
from typing import Any

from pymongo import ReturnDocument
from pymongo.errors import DuplicateKeyError

from ..models import Model
from .errors import translated


class Lease(Model):
    """Work that is ours now; `done_until` is how far it was done the last time."""

    done_until: datetime | None = None


class Leases:
    """A lease is a document: who has it, until when, and when the work is due again.

    Whoever takes it holds it until it ends, and keeps it longer by renewing it. One that was not
    given back, because its process died, ends by itself.
    """

    def __init__(self, database: Any) -> None:
        self._service = database.service

    @translated
    async def take(
        self,
        name: str,
        holder: str,
        now: datetime,
        length: timedelta,
        *,
        interval: timedelta | None = None,
    ) -> Lease | None:
        """Give the work to `holder` until `now + length`, if it is due and nobody has it.

        Args:
            name: which work.
            holder: who asks.
            now: the time by the clock that all processes share: :meth:`.Store.now`.
            length: how long a lease lasts.
            interval: how far ahead the work is ever due. A date beyond that was written by a wrong
                clock, and is ignored.
        """
        due = {
            "_id": f"lease-{name}",
            "$and": [_past("until", now, length), _past("due_at", now, interval)],
        }
        taken = {"$set": {"holder": holder, "until": now + length}, "$setOnInsert": {"due_at": now}}
        try:
            # The dates are in the filter as ranges, so an upsert does not set them.
            found = await self._service.find_one_and_update(
                due, taken, upsert=True, return_document=ReturnDocument.AFTER
            )
        except DuplicateKeyError:
            return None  # it is somebody's, or not due: the upsert met its `_id`
        return Lease(done_until=found.get("done_until"))

    @translated
    async def done_until(self, name: str) -> datetime | None:
        """Return how far the work was done the last time, or None."""
        found = await self._service.find_one({"_id": f"lease-{name}"}) or {}
        done_until: datetime | None = found.get("done_until")
        return done_until

    @translated
    async def renew(self, name: str, holder: str, now: datetime, length: timedelta) -> bool:
        """Hold it for longer. False when it has ended and somebody else has it."""
        renewed = await self._service.update_one(
            {"_id": f"lease-{name}", "holder": holder}, {"$set": {"until": now + length}}
        )
        return bool(renewed.matched_count)

    @translated
    async def release(
        self,
        name: str,
        holder: str,
        now: datetime,
        *,
        due_at: datetime,
        done_until: datetime | None = None,
    ) -> None:
        """End it; the work is due again at `due_at`, and is done up to `done_until`, if at all."""
        changes = {"until": now, "due_at": due_at}
        if done_until is not None:
            changes["done_until"] = done_until
        await self._service.update_one(
            {"_id": f"lease-{name}", "holder": holder}, {"$set": changes}
        )


# A process reads the time before it asks for the lease. Another one may have read a later time, and
# have written its dates meanwhile.
_READ_TOLERANCE = timedelta(minutes=1)


def _past(field: str, now: datetime, furthest: timedelta | None) -> dict[str, Any]:
    """Match a date that is past, or further ahead than anybody would have set it."""
    past = {field: {"$lte": now}}
    if furthest is None:
        return past
    return {"$or": [past, {field: {"$gt": now + furthest + _READ_TOLERANCE}}]}
