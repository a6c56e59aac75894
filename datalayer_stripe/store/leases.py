"""Leases for periodic work that one process at a time does."""

from datetime import datetime, timedelta
from typing import Any

from pymongo import ReturnDocument
from pymongo.errors import DuplicateKeyError

from ..models import Model
from .collection import CollectionSpec
from .errors import translate_errors

# Single documents about the service: leases, `mode`, `plugins`, `checks`, `stripe-permits`,
# `readiness` and `last-…`.
SERVICE = CollectionSpec("service")


class Lease(Model):
    """Lease that was taken. `done_until` says up to when the work was done in the last run."""

    done_until: datetime | None = None


class Leases:
    """Documents `lease-…` of the collection `service`.

    A document holds the holder, the time at which the lease expires, and the time at which the work
    is due again. A holder renews its lease while it works. The lease of a process that has crashed
    expires.
    """

    def __init__(self, database: Any) -> None:
        self._service = database.service

    @translate_errors
    async def take(
        self,
        name: str,
        holder: str,
        now: datetime,
        duration: timedelta,
        *,
        interval: timedelta | None = None,
    ) -> Lease | None:
        """Take the lease if the work is due and no other process holds it.

        Args:
            name: The name of the work.
            holder: An id of the caller.
            now: The time by the clock that all processes share: :meth:`.Store.now`.
            duration: How long the lease lasts.
            interval: The longest time until the work is due again. A time further ahead was written
                by a wrong clock, and is ignored.

        Returns:
            The lease, or None if it was not taken.
        """
        due = {
            "_id": f"lease-{name}",
            "$and": [_past("until", now, duration), _past("due_at", now, interval)],
        }
        update = {
            "$set": {"holder": holder, "until": now + duration},
            "$setOnInsert": {"due_at": now},
        }
        try:
            # The filter has the times as ranges, so an upsert does not set them from the filter.
            found = await self._service.find_one_and_update(
                due, update, upsert=True, return_document=ReturnDocument.AFTER
            )
        except DuplicateKeyError:
            # The document exists and does not match: the lease is held, or the work is not due.
            return None
        return Lease(done_until=found.get("done_until"))

    @translate_errors
    async def done_until(self, name: str) -> datetime | None:
        """Return up to when the work was done in the last run, or None before the first run."""
        found = await self._service.find_one({"_id": f"lease-{name}"}) or {}
        done_until: datetime | None = found.get("done_until")
        return done_until

    @translate_errors
    async def renew(self, name: str, holder: str, now: datetime, duration: timedelta) -> bool:
        """Extend the lease.

        Args:
            name: The name of the work.
            holder: The id of the caller.
            now: The time by the clock that all processes share.
            duration: How long the lease lasts from now on.

        Returns:
            False if the lease has expired and another process has taken it.
        """
        renewed = await self._service.update_one(
            {"_id": f"lease-{name}", "holder": holder}, {"$set": {"until": now + duration}}
        )
        return bool(renewed.matched_count)

    @translate_errors
    async def release(
        self,
        name: str,
        holder: str,
        now: datetime,
        *,
        due_at: datetime,
        done_until: datetime | None = None,
    ) -> None:
        """Release the lease, unless another process has taken it.

        Args:
            name: The name of the work.
            holder: The id of the caller.
            now: The time by the clock that all processes share.
            due_at: When the work is due again.
            done_until: Up to when the work was done; None if it has failed.
        """
        changes = {"until": now, "due_at": due_at}
        if done_until is not None:
            changes["done_until"] = done_until
        await self._service.update_one(
            {"_id": f"lease-{name}", "holder": holder}, {"$set": changes}
        )


# A process reads the time before it takes the lease. Meanwhile another process may have read a
# later time and written its times.
_READ_TOLERANCE = timedelta(minutes=1)


def _past(field: str, now: datetime, max_ahead: timedelta | None) -> dict[str, Any]:
    """Return a query for a time that is past, or further ahead than a right clock would set it."""
    past = {field: {"$lte": now}}
    if max_ahead is None:
        return past
    return {"$or": [past, {field: {"$gt": now + max_ahead + _READ_TOLERANCE}}]}
