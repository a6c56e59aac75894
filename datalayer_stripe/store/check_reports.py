"""The problems that the checks at the start of `serve` have found, for all its processes."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from .errors import translate_errors

_ID = "checks"


class CheckReports:
    """Document `checks` of the collection `service`: the report of the last run."""

    def __init__(self, database: Any) -> None:
        self._service = database.service

    @translate_errors
    async def write(self, at: datetime, problems: Mapping[str, str]) -> None:
        """Replace the report.

        Args:
            at: The present time.
            problems: The problems, by the name of the check.
        """
        report = {"at": at, "problems": [list(item) for item in problems.items()]}
        await self._service.update_one({"_id": _ID}, {"$set": report}, upsert=True)

    @translate_errors
    async def read(self, since: datetime) -> dict[str, str]:
        """Return the problems of a report that is not older than a time, else none.

        Args:
            since: The time.
        """
        found = await self._service.find_one({"_id": _ID, "at": {"$gte": since}}) or {}
        return dict(found.get("problems", []))
