"""What an audit reads: streams in the order of ids, and a scratch collection of what it saw."""

import uuid
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

from ..models import LedgerEntry
from .errors import translated, translated_stream
from .ledger import entry_of

_PAGE = 500
# How often an account that is being credited is looked at again.
_LOOKS = 20


class Audits:
    def __init__(self, database: Any) -> None:
        self._database = database

    @translated_stream
    async def balances(self) -> AsyncIterator[tuple[str, int]]:
        """Each account and its balance, in the order of their ids."""
        async for row in self._database.accounts.find({}, {"credits": 1}).sort("_id", 1):
            yield row["_id"], row.get("credits", 0)

    @translated_stream
    async def ledger_sums(self) -> AsyncIterator[tuple[str, int]]:
        """Each account in the ledger and the sum of its rows, in the order of their ids.

        Summed here, along the index: to group a large ledger in the database takes longer than
        a call may.
        """
        account_uid, total = None, 0
        rows = self._database.ledger.find({}, {"account_uid": 1, "credits": 1})
        async for row in rows.sort("account_uid", 1):
            if account_uid is not None and row["account_uid"] != account_uid:
                yield account_uid, total
                total = 0
            account_uid = row["account_uid"]
            total += row["credits"]
        if account_uid is not None:
            yield account_uid, total

    @translated
    async def balance_and_sum(self, account_uid: str) -> tuple[int, int]:
        """An account's balance and the sum of its ledger, of one moment."""
        balance = await self._balance(account_uid)
        for _ in range(_LOOKS):
            total = await self._ledger_sum(account_uid)
            before, balance = balance, await self._balance(account_uid)
            if before == balance:  # nothing was credited meanwhile
                break
        return balance, total

    async def _balance(self, account_uid: str) -> int:
        row = await self._database.accounts.find_one({"_id": account_uid}, {"credits": 1})
        return int((row or {}).get("credits", 0))

    async def _ledger_sum(self, account_uid: str) -> int:
        stages = [
            {"$match": {"account_uid": account_uid}},
            {"$group": {"_id": None, "credits": {"$sum": "$credits"}}},
        ]
        sums = await self._database.ledger.aggregate(stages).to_list(None)
        return int(sums[0]["credits"]) if sums else 0

    @asynccontextmanager
    async def scratch(self) -> AsyncIterator["Seen"]:
        """A collection of what this audit has seen, dropped at its end."""
        seen = Seen(self._database, f"audit_{uuid.uuid4().hex}")
        try:
            yield seen
        finally:
            await seen.drop()


class Seen:
    """The payments that Stripe has listed, kept in the database rather than in memory."""

    def __init__(self, database: Any, name: str) -> None:
        self._database = database
        self._name = name

    @translated
    async def add(self, payment_intent_ids: Sequence[str]) -> None:
        if payment_intent_ids:
            rows = [{"_id": intent_id} for intent_id in payment_intent_ids]
            await self._database[self._name].insert_many(rows, ordered=False)

    @translated_stream
    async def ledger_without(self) -> AsyncIterator[list[LedgerEntry]]:
        """The ledger's top-ups that were not seen, in pages."""
        page: list[dict[str, Any]] = []
        async for row in self._database.ledger.find({"kind": "top-up"}).sort("_id", 1):
            page.append(row)
            if len(page) == _PAGE:
                yield await self._unseen(page)
                page = []
        if page:
            yield await self._unseen(page)

    async def _unseen(self, page: list[dict[str, Any]]) -> list[LedgerEntry]:
        wanted = {"_id": {"$in": [row["_id"] for row in page]}}
        seen = {row["_id"] async for row in self._database[self._name].find(wanted)}
        return [entry_of(row) for row in page if row["_id"] not in seen]

    @translated
    async def drop(self) -> None:
        await self._database.drop_collection(self._name)
