"""Reads of an audit: streams sorted by id, and a scratch collection."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

from bson import ObjectId

from ..clock import EPOCH
from ..models import ENTRY_KINDS, LedgerEntry
from .balances import DEBT_KINDS
from .driver import aggregate
from .errors import translate_errors, translate_stream_errors
from .ledger import effective_kind, entry_of
from .reversals import is_top_up

_PAGE = 500
# How often the ledger of an account that is credited while it is read is read.
_MAX_READS = 20

_SCRATCH_PREFIX = "audit_"
# At this age, the collection of an audit that was killed is dropped. No audit runs for so long.
_SCRATCH_MAX_AGE = timedelta(days=7)

_BALANCE_FIELDS = {"credits": 1, "debt": 1}


class Balance(NamedTuple):
    """Credits and debt of an account, stored on it or summed from its ledger."""

    credits: int = 0
    debt: int = 0


class Audits:
    """Reader of the collections `accounts` and `ledger` for an audit."""

    def __init__(self, database: Any) -> None:
        self._database = database

    @translate_errors
    async def count_accounts(self) -> int:
        """Return about how many accounts there are, from the collection's metadata."""
        return int(await self._database.accounts.estimated_document_count())

    @translate_errors
    async def oldest_row_at(self) -> datetime | None:
        """Return when the oldest row of the ledger was added; None if there is no row."""
        # A row that another service has written may lack the time.
        row = await self._database.ledger.find_one(
            {"created_at": {"$gt": EPOCH}}, {"created_at": 1}, sort=[("created_at", 1)]
        )
        return row["created_at"] if row else None

    @translate_stream_errors
    async def balances(self) -> AsyncIterator[tuple[str, Balance]]:
        """Yield each account's uid and balance, sorted by uid."""
        async for row in self._database.accounts.find({}, _BALANCE_FIELDS).sort("_id", 1):
            yield row["_id"], _balance_of(row)

    @translate_stream_errors
    async def ledger_sums(self) -> AsyncIterator[tuple[str, Balance]]:
        """Yield the uid of each account in the ledger and the sum of its rows, sorted by uid.

        The rows are summed here, in the order of the index. The database would need more time than
        a call may take to group a large ledger.
        """
        account_uid, total = None, Balance()
        fields = {"account_uid": 1, "credits": 1, "kind": 1, "corrected.kind": 1}
        rows = self._database.ledger.find({}, fields)
        async for row in rows.sort("account_uid", 1):
            if account_uid is not None and row["account_uid"] != account_uid:
                yield account_uid, total
                total = Balance()
            account_uid = row["account_uid"]
            debt = row["credits"] if effective_kind(row) in DEBT_KINDS else 0
            total = Balance(total.credits + row["credits"], total.debt + debt)
        if account_uid is not None:
            yield account_uid, total

    @translate_errors
    async def balance_and_sum(self, account_uid: str) -> tuple[Balance, Balance]:
        """Return an account's balance and the sum of its ledger, at the same moment."""
        balance = await self._balance(account_uid)
        for _ in range(_MAX_READS):
            total = await self._ledger_sum(account_uid)
            before, balance = balance, await self._balance(account_uid)
            if before == balance:  # Nothing was credited between the two reads.
                break
        return balance, total

    async def _balance(self, account_uid: str) -> Balance:
        row = await self._database.accounts.find_one({"_id": account_uid}, _BALANCE_FIELDS)
        return _balance_of(row or {})

    async def _ledger_sum(self, account_uid: str) -> Balance:
        stages: list[dict[str, Any]] = [
            {"$match": {"account_uid": account_uid}},
            {
                "$group": {
                    "_id": {"$ifNull": ["$corrected.kind", "$kind"]},
                    "credits": {"$sum": "$credits"},
                }
            },
        ]
        sums = await aggregate(self._database.ledger, stages)
        by_kind = {row["_id"]: row["credits"] for row in sums}
        debt = sum(by_kind.get(kind, 0) for kind in DEBT_KINDS)
        return Balance(sum(by_kind.values()), debt)

    @translate_errors
    async def payment_rows(self, ids: Sequence[str]) -> dict[str, list[LedgerEntry]]:
        """Return the rows of these payments' top-ups and their corrections, by PaymentIntent id."""
        wanted = {"$or": [{"_id": {"$in": list(ids)}}, {"corrects": {"$in": list(ids)}}]}
        found: dict[str, list[LedgerEntry]] = {}
        async for row in self._database.ledger.find(wanted):
            if row.get("reverses") is None:
                found.setdefault(row.get("corrects") or row["_id"], []).append(entry_of(row))
        return found

    @translate_stream_errors
    async def unknown_rows(self) -> AsyncIterator[dict[str, Any]]:
        """Yield the rows of unknown kinds that no repair has corrected."""
        unknown = {"kind": {"$nin": sorted(ENTRY_KINDS)}, "corrected": {"$exists": False}}
        async for row in self._database.ledger.find(unknown).sort("_id", 1):
            yield row

    @asynccontextmanager
    async def scratch_collection(self) -> AsyncIterator["ScratchCollection"]:
        """Create a scratch collection, and drop it at the end of the `async with` block.

        An audit that is killed leaves its collection behind. A later audit drops it: the name
        contains an ObjectId, which contains the creation time.
        """
        await self._drop_abandoned()
        scratch = ScratchCollection(self._database, f"{_SCRATCH_PREFIX}{ObjectId()}")
        try:
            yield scratch
        finally:
            await scratch.drop()

    @translate_errors
    async def _drop_abandoned(self) -> None:
        for name in await self._database.list_collection_names():
            identifier = name.removeprefix(_SCRATCH_PREFIX)
            if not name.startswith(_SCRATCH_PREFIX) or not ObjectId.is_valid(identifier):
                continue
            if datetime.now(UTC) - ObjectId(identifier).generation_time > _SCRATCH_MAX_AGE:
                await self._database.drop_collection(name)


class ScratchCollection:
    """Ids that Stripe has listed, stored in the database instead of in memory."""

    def __init__(self, database: Any, name: str) -> None:
        self._database = database
        self._name = name

    @translate_errors
    async def add(self, ids: Sequence[str]) -> None:
        """Add ids."""
        if ids:
            rows = [{"_id": one} for one in ids]
            await self._database[self._name].insert_many(rows, ordered=False)

    @translate_errors
    async def missing(self, ids: Sequence[str]) -> set[str]:
        """Return the ids that were not added."""
        wanted = {"_id": {"$in": list(ids)}}
        return set(ids) - {row["_id"] async for row in self._database[self._name].find(wanted)}

    @translate_stream_errors
    async def other_top_ups(self) -> AsyncIterator[list[LedgerEntry]]:
        """Yield the ledger's top-ups whose ids were not added, in pages."""
        page: list[dict[str, Any]] = []
        async for row in self._database.ledger.find(is_top_up()).sort("_id", 1):
            page.append(row)
            if len(page) == _PAGE:
                yield await self._not_added(page)
                page = []
        if page:
            yield await self._not_added(page)

    async def _not_added(self, page: list[dict[str, Any]]) -> list[LedgerEntry]:
        missing = await self.missing([row["_id"] for row in page])
        return [entry_of(row) for row in page if row["_id"] in missing]

    @translate_errors
    async def drop(self) -> None:
        """Drop the collection."""
        await self._database.drop_collection(self._name)


def _balance_of(row: dict[str, Any]) -> Balance:
    return Balance(row.get("credits", 0), row.get("debt", 0))
