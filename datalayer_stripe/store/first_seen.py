"""Times at which this database first saw each plugin."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from .errors import translate_errors

_ID = "plugins"


class FirstSeen:
    """Document `plugins` of the collection `service`. A plugin is never removed from it."""

    def __init__(self, database: Any) -> None:
        self._service = database.service

    @translate_errors
    async def note(self, plugin_names: Sequence[str], now: datetime) -> None:
        """Record the present time for each plugin that has no time yet.

        Args:
            plugin_names: The plugins of this process.
            now: The present time.
        """
        if plugin_names:
            # With `$min`, the earliest time wins if several processes start at once.
            times = {f"first_seen.{name}": now for name in plugin_names}
            await self._service.update_one({"_id": _ID}, {"$min": times}, upsert=True)

    @translate_errors
    async def read(self) -> dict[str, datetime]:
        """Return when each plugin was first seen, by its name."""
        found = await self._service.find_one({"_id": _ID}) or {}
        times: dict[str, datetime] = found.get("first_seen", {})
        return times
