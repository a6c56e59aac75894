"""The append-only record of credit movements, and the balances that are its sums."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from ..models import LedgerEntry
from .balances import move_balance, row_of
from .errors import translated
from .unit_of_work import CommitReceipt


@dataclass(frozen=True)
class Credit:
    """Add a ledger row and its credits to the account's balance, unless the row is there.

    The row's id is its cause's. The balance moves only where the row was inserted, in the same
    transaction, so balance = sum of ledger at every moment.
    """

    entry: LedgerEntry

    async def apply(self, database: Any, mongo_session: Any, receipt: CommitReceipt) -> None:
        inserted = await database.ledger.update_one(
            {"_id": self.entry.id},
            {"$setOnInsert": row_of(self.entry)},
            upsert=True,
            session=mongo_session,
        )
        if inserted.upserted_id is None:
            receipt.already_credited.append(self.entry.id)
            return
        await move_balance(database, mongo_session, self.entry, receipt)


class Ledger:
    """Reads the rows."""

    def __init__(self, database: Any) -> None:
        self._ledger = database.ledger

    @translated
    async def existing(self, ids: Sequence[str]) -> set[str]:
        """Those of these ids that have a row."""
        return {row["_id"] async for row in self._ledger.find({"_id": {"$in": ids}}, {"_id": 1})}

    @translated
    async def by_ids(self, ids: Sequence[str]) -> dict[str, LedgerEntry]:
        """The rows of these ids, by id."""
        found = self._ledger.find({"_id": {"$in": ids}})
        return {row["_id"]: entry_of(row) async for row in found}

    @translated
    async def page(
        self, account_uid: str, *, limit: int, after: tuple[datetime, str] | None = None
    ) -> list[LedgerEntry]:
        """An account's rows, newest first; `after` is the last of the page before, time and id."""
        query: dict[str, Any] = {"account_uid": account_uid}
        if after is not None:
            at, entry_id = after
            earlier = [{"created_at": {"$lt": at}}, {"_id": {"$lt": entry_id}}]
            query |= {"created_at": {"$lte": at}, "$or": earlier}
        found = self._ledger.find(query).sort([("created_at", -1), ("_id", -1)]).limit(limit)
        return [entry_of(row) for row in await found.to_list(None)]

    @translated
    async def keep_receipt(self, entry_id: str, receipt_url: str | None) -> None:
        """Keep where a top-up's receipt is, or that there is none. It is no credit movement."""
        await self._ledger.update_one({"_id": entry_id}, {"$set": {"receipt_url": receipt_url}})


def entry_of(row: dict[str, Any]) -> LedgerEntry:
    """Return a row as it was written."""
    return LedgerEntry.model_validate({**row, "id": row["_id"]})


def effective_entry(row: dict[str, Any]) -> LedgerEntry:
    """Return a row as its corrections leave it: what later refunds and disputes are measured by.

    A repair never changes what a row says. It notes in `corrected` what the row counts as.
    """
    return entry_of({**row, **row.get("corrected", {})})
