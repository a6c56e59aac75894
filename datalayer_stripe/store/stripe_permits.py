"""Permits for calls to Stripe, which all processes lease from one document.

The document holds the time of the next free permit, in all and for each operation. One update
leases several permits: it computes them with the server's clock, so that the clocks of the
processes do not matter.
"""

from typing import Any

from pymongo import ReturnDocument, WriteConcern

from .errors import translate_errors
from .unit_of_work import Document

_ID = "stripe-permits"

# A time further ahead was written by a server with a wrong clock.
_MAX_AHEAD_MS = 120_000


class StripePermits:
    """Document `stripe-permits` of the collection `service`. Its times are epoch milliseconds."""

    def __init__(self, database: Any) -> None:
        self._database = database

    @translate_errors
    async def lease(
        self, operation: str, number: int, *, max_wait: float, interval: float, total: float
    ) -> tuple[int, float]:
        """Lease permits as :class:`.permits.PermitSource`."""
        # Permits need not survive the primary: a new one grants a few too many at worst.
        database = self._database.with_options(write_concern=WriteConcern(1))
        found = await database.service.find_one_and_update(
            {"_id": _ID},
            _update(
                operation.replace(".", "_"),
                number,
                max_wait=max_wait * 1000,
                interval=interval * 1000,
                total=total * 1000,
            ),
            upsert=True,
            projection={"lease": 1},
            return_document=ReturnDocument.AFTER,
        )
        lease = found["lease"]
        return int(lease["number"]), (lease["start"] - lease["now"]) / 1000


def _update(
    operation: str, number: int, *, max_wait: float, interval: float, total: float
) -> list[Document]:
    """Return the pipeline that leases permits and stores what it has leased in `lease`."""
    of_operation = f"operations.{operation}"
    latest = {"$subtract": [{"$add": ["$lease.now", max_wait]}, "$lease.start"]}
    fitting = {"$add": [{"$floor": {"$divide": [latest, interval]}}, 1]}
    return [
        {"$set": {"lease.now": {"$toDouble": {"$toLong": "$$NOW"}}}},
        {"$set": {"next": _not_past("$next"), of_operation: _not_past(f"${of_operation}")}},
        {"$set": {"lease.start": {"$max": ["$next", f"${of_operation}"]}}},
        {"$set": {"lease.number": {"$max": [0, {"$min": [number, fitting]}]}}},
        {
            "$set": {
                "next": {"$add": ["$next", {"$multiply": ["$lease.number", total]}]},
                of_operation: {
                    "$cond": [
                        "$lease.number",
                        {"$add": ["$lease.start", {"$multiply": ["$lease.number", interval]}]},
                        f"${of_operation}",
                    ]
                },
            }
        },
    ]


def _not_past(field: str) -> Document:
    """Return the time of a field, or the present time if it is past, missing or too far ahead."""
    is_valid = {"$lte": [field, {"$add": ["$lease.now", _MAX_AHEAD_MS]}]}
    return {"$cond": [is_valid, {"$max": [field, "$lease.now"]}, "$lease.now"]}
