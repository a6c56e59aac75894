"""Times of the last runs of periodic work, and what they have left to do."""

from datetime import datetime
from typing import Any

from pymongo.errors import DuplicateKeyError

from ..models import Model
from .errors import translate_errors

RECONCILIATION = "reconciliation"
"""A run that has processed what was never delivered, periodic or by command."""

AUDIT = "audit"
"""A command that has compared all accounts and payments."""


class LastRun(Model):
    """When a run began, and the number of problems that it has left."""

    at: datetime
    problems: int = 0


class LastRuns:
    """Documents `last-…` of the collection `service`: one for each kind of work."""

    def __init__(self, database: Any) -> None:
        self._service = database.service

    @translate_errors
    async def record(self, kind: str, at: datetime, *, problems: int = 0) -> None:
        """Record a run that has succeeded.

        A run that has begun before the recorded one does not replace it.

        Args:
            kind: RECONCILIATION or AUDIT.
            at: When it began.
            problems: The number of problems that it has left.
        """
        not_later = {"_id": f"last-{kind}", "at": {"$lte": at}}
        update = {"$set": {"at": at, "problems": problems}}
        try:
            await self._service.update_one(not_later, update, upsert=True)
        except DuplicateKeyError:
            # The recorded run has begun later. Or another process has just inserted the document,
            # with a run that has begun earlier.
            await self._service.update_one(not_later, update)

    @translate_errors
    async def get(self, kind: str) -> LastRun | None:
        """Return the last run, or None if there was none.

        Args:
            kind: RECONCILIATION or AUDIT.
        """
        found = await self._service.find_one({"_id": f"last-{kind}"})
        return LastRun.model_validate(found) if found else None
