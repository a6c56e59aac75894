"""What an audit reads: streams in the order of ids, and a scratch collection of what it saw."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

from bson import ObjectId

from ..models import ENTRY_KINDS, LedgerEntry
from .balances import DEBT_KINDS
from .errors import translated, translated_stream
from .ledger import entry_of
from .reversals import is_top_up

_PAGE = 500
# How often an account that is being credited is looked at again.
_LOOKS = 20

_SCRATCH_PREFIX = "audit_"
# The age at which the collection of an audit that was killed is dropped. No audit runs for so long.
_SCRATCH_MAX_AGE = timedelta(days=7)

_HELD = {"credits": 1, "debt": 1}


class Balance(NamedTuple):
    """What an account holds and owes, or its ledger says that it does."""

    credits: int = 0
    debt: int = 0


class Audits:
    def __init__(self, database: Any) -> None:
        self._database = database

    @translated_stream
    async def balances(self) -> AsyncIterator[tuple[str, Balance]]:
        """Each account and what it holds, in the order of their ids."""
        async for row in self._database.accounts.find({}, _HELD).sort("_id", 1):
            yield row["_id"], _balance_of(row)

    @translated_stream
    async def ledger_sums(self) -> AsyncIterator[tuple[str, Balance]]:
        """Each account in the ledger and the sums of its rows, in the order of their ids.

        Summed here, along the index: to group a large ledger in the database takes longer than
        a call may.
        """
        account_uid, total = None, Balance()
        fields = {"account_uid": 1, "credits": 1, "kind": 1, "corrected.kind": 1}
        rows = self._database.ledger.find({}, fields)
        async for row in rows.sort("account_uid", 1):
            if account_uid is not None and row["account_uid"] != account_uid:
                yield account_uid, total
                total = Balance()
            account_uid = row["account_uid"]
            debt = row["credits"] if _kind_of(row) in DEBT_KINDS else 0
            total = Balance(total.credits + row["credits"], total.debt + debt)
        if account_uid is not None:
            yield account_uid, total

    @translated
    async def balance_and_sum(self, account_uid: str) -> tuple[Balance, Balance]:
        """What an account holds and the sums of its ledger, of one moment."""
        balance = await self._balance(account_uid)
        for _ in range(_LOOKS):
            total = await self._ledger_sum(account_uid)
            before, balance = balance, await self._balance(account_uid)
            if before == balance:  # nothing was credited meanwhile
                break
        return balance, total

    async def _balance(self, account_uid: str) -> Balance:
        row = await self._database.accounts.find_one({"_id": account_uid}, _HELD)
        return _balance_of(row or {})

    async def _ledger_sum(self, account_uid: str) -> Balance:
        stages = [
            {"$match": {"account_uid": account_uid}},
            {
                "$group": {
                    "_id": {"$ifNull": ["$corrected.kind", "$kind"]},
                    "credits": {"$sum": "$credits"},
                }
            },
        ]
        sums = await self._database.ledger.aggregate(stages).to_list(None)
        by_kind = {row["_id"]: row["credits"] for row in sums}
        debt = sum(by_kind.get(kind, 0) for kind in DEBT_KINDS)
        return Balance(sum(by_kind.values()), debt)

    @translated
    async def payment_rows(self, ids: Sequence[str]) -> dict[str, list[LedgerEntry]]:
        """The rows of these payments' top-ups and their corrections, by payment."""
        wanted = {"$or": [{"_id": {"$in": list(ids)}}, {"corrects": {"$in": list(ids)}}]}
        found: dict[str, list[LedgerEntry]] = {}
        async for row in self._database.ledger.find(wanted):
            if row.get("reverses") is None:
                found.setdefault(row.get("corrects") or row["_id"], []).append(entry_of(row))
        return found

    @translated_stream
    async def unknown_rows(self) -> AsyncIterator[dict[str, Any]]:
        """The rows of a kind that nothing here writes, and that no repair has seen."""
        unknown = {"kind": {"$nin": sorted(ENTRY_KINDS)}, "corrected": {"$exists": False}}
        async for row in self._database.ledger.find(unknown).sort("_id", 1):
            yield row

    @asynccontextmanager
    async def scratch_collection(self) -> AsyncIterator["ScratchCollection"]:
        """Create a collection of what this audit has seen, and drop it at the audit's end.

        An audit that is killed leaves its collection behind. A later one drops it: the name holds
        an ObjectId, and that holds the time at which it was made.
        """
        await self._drop_abandoned()
        scratch = ScratchCollection(self._database, f"{_SCRATCH_PREFIX}{ObjectId()}")
        try:
            yield scratch
        finally:
            await scratch.drop()

    @translated
    async def _drop_abandoned(self) -> None:
        for name in await self._database.list_collection_names():
            identifier = name.removeprefix(_SCRATCH_PREFIX)
            if not name.startswith(_SCRATCH_PREFIX) or not ObjectId.is_valid(identifier):
                continue
            if datetime.now(UTC) - ObjectId(identifier).generation_time > _SCRATCH_MAX_AGE:
                await self._database.drop_collection(name)


class ScratchCollection:
    """What Stripe has listed, kept in the database rather than in memory."""

    def __init__(self, database: Any, name: str) -> None:
        self._database = database
        self._name = name

    @translated
    async def add(self, ids: Sequence[str]) -> None:
        if ids:
            rows = [{"_id": one} for one in ids]
            await self._database[self._name].insert_many(rows, ordered=False)

    @translated
    async def missing(self, ids: Sequence[str]) -> set[str]:
        """Those of these ids that were not seen."""
        wanted = {"_id": {"$in": list(ids)}}
        return set(ids) - {row["_id"] async for row in self._database[self._name].find(wanted)}

    @translated_stream
    async def other_top_ups(self) -> AsyncIterator[list[LedgerEntry]]:
        """The ledger's top-ups that were not seen, in pages."""
        page: list[dict[str, Any]] = []
        async for row in self._database.ledger.find(is_top_up()).sort("_id", 1):
            page.append(row)
            if len(page) == _PAGE:
                yield await self._unseen(page)
                page = []
        if page:
            yield await self._unseen(page)

    async def _unseen(self, page: list[dict[str, Any]]) -> list[LedgerEntry]:
        missing = await self.missing([row["_id"] for row in page])
        return [entry_of(row) for row in page if row["_id"] in missing]

    @translated
    async def drop(self) -> None:
        await self._database.drop_collection(self._name)


def _kind_of(row: dict[str, Any]) -> str:
    """Return what a row counts as: a repair may have noted that it is of another kind."""
    return str(row.get("corrected", {}).get("kind", row["kind"]))


def _balance_of(row: dict[str, Any]) -> Balance:
    return Balance(row.get("credits", 0), row.get("debt", 0))
