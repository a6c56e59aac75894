"""When this database has first seen each plugin: what is older is not new to it."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from .errors import translated

_ID = "plugins"


class FirstSeen:
    """One document of the collection `service`. A plugin that was seen once is never forgotten."""

    def __init__(self, database: Any) -> None:
        self._service = database.service

    @translated
    async def note(self, plugin_names: Sequence[str], now: datetime) -> None:
        """Keep `now` for each of these plugins that has not been seen before."""
        if plugin_names:
            # `$min`: of several processes that start at once, the earliest counts.
            seen = {f"first_seen.{name}": now for name in plugin_names}
            await self._service.update_one({"_id": _ID}, {"$min": seen}, upsert=True)

    @translated
    async def read(self) -> dict[str, datetime]:
        """When each plugin was first seen, by its name."""
        found = await self._service.find_one({"_id": _ID}) or {}
        seen: dict[str, datetime] = found.get("first_seen", {})
        return seen
