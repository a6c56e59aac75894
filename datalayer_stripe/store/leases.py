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
    async def take(self, name: str, holder: str, now: datetime, length: timedelta) -> Lease | None:
        """If the work is due and nobody has it, it is `holder`'s until `now + length`."""
        due = {"_id": f"lease-{name}", "until": {"$lte": now}, "due_at": {"$lte": now}}
        taken = {"$set": {"holder": holder, "until": now + length}, "$setOnInsert": {"due_at": now}}
        try:
            # `due_at` is in the filter as a range, so an upsert does not set it.
            found = await self._service.find_one_and_update(
                due, taken, upsert=True, return_document=ReturnDocument.AFTER
            )
        except DuplicateKeyError:
            return None  # it is somebody's, or not due: the upsert met its `_id`
        return Lease(done_until=found.get("done_until"))

    @translated
    async def renew(self, name: str, holder: str, now: datetime, length: timedelta) -> bool:
        """Hold it for longer. False when it has ended and somebody else has it."""
        renewed = await self._service.update_one(
            {"_id": f"lease-{name}", "holder": holder}, {"$set": {"until": now + length}}
        )
        return bool(renewed.matched_count)

    @translated
    async def give_back(
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
