"""The ledger: the append-only record of credit movements."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

from pymongo import ASCENDING, DESCENDING, IndexModel
from pymongo.errors import ExecutionTimeout

from ..clock import EPOCH
from ..errors import InvalidRequest
from ..models import LedgerEntry
from .balances import move_balance, row_of
from .bulk_writes import BulkWrites
from .collection import CollectionSpec
from .driver import Document, aggregate
from .errors import translate_errors
from .unit_of_work import BulkOperation, CommitReceipt


@dataclass(frozen=True)
class Credit(BulkOperation):
    """Insert a ledger row and add its credits to the balance, unless the row exists.

    The row's id is the id of its cause. The balance changes only if the row was inserted, in the
    same transaction, so that the balance is the sum of the ledger at every moment.
    """

    entry: LedgerEntry

    def add_to(self, bulk: BulkWrites, receipt: CommitReceipt) -> None:
        bulk.insert("ledger", {"_id": self.entry.id, **row_of(self.entry)})
        bulk.add_credits(self.entry)
        receipt.credits_added += self.entry.credits

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


_SUMMED_FIELDS = ("kind", "currency", "credits", "amount")

LEDGER = CollectionSpec(
    "ledger",
    [
        # The id is last, so that a page of the history starts at an exact row.
        IndexModel([("account_uid", ASCENDING), ("created_at", DESCENDING), ("_id", DESCENDING)]),
        # Partial and not sparse, because these fields of a top-up are null.
        IndexModel([("reverses", ASCENDING)], partialFilterExpression={"reverses": {"$gt": ""}}),
        IndexModel([("corrects", ASCENDING)], partialFilterExpression={"corrects": {"$gt": ""}}),
        IndexModel([("open_disputes", ASCENDING)], sparse=True),
        # As the first one, for the few rows whose account a repair has corrected.
        IndexModel(
            [("corrected.account_uid", ASCENDING), ("created_at", DESCENDING), ("_id", DESCENDING)],
            partialFilterExpression={"corrected.account_uid": {"$gt": ""}},
        ),
        # All fields of `by_day`, which reads this index only.
        IndexModel([(field, ASCENDING) for field in ("created_at", *_SUMMED_FIELDS)]),
    ],
)

NEWEST_FIRST = [("created_at", -1), ("_id", -1)]
"""The order of an account's rows, which its index has."""

# Timeout of the sums on the server, in milliseconds.
_MAX_SUM_MS = 6000

_DAY = {"$dateToString": {"format": "%Y-%m-%d", "date": "$created_at"}}

# What a row that another service has written, without these fields, has in them.
_NO_PAYMENT = {
    "amount": 0,
    "currency": "",
    "price_id": None,
    "event_id": "",
    "created_at": EPOCH,
}


class DaySum(NamedTuple):
    """The sums of the rows of a kind and a currency that were added on a UTC day, `2026-11-01`."""

    day: str
    kind: str
    currency: str
    rows: int
    credits: int
    amount: int


class CorrectedMoney(NamedTuple):
    """The money of the corrections of a UTC day in one currency.

    Attributes:
        day: The day, `2026-11-01`.
        currency: The currency.
        is_returned: Whether it corrects refunds or disputes instead of payments.
        amount: The sum in the currency's minor unit.
    """

    day: str
    currency: str
    is_returned: bool
    amount: int


class Ledger:
    """Reader of the collection `ledger`."""

    def __init__(self, database: Any) -> None:
        self._ledger = database.ledger

    @translate_errors
    async def existing_ids(self, ids: Sequence[str]) -> set[str]:
        """Return the ids that have a row."""
        return {row["_id"] async for row in self._ledger.find({"_id": {"$in": ids}}, {"_id": 1})}

    @translate_errors
    async def is_empty(self) -> bool:
        """Return whether no credits were ever added or taken."""
        return await self._ledger.find_one({}, {"_id": 1}) is None

    @translate_errors
    async def by_ids(self, ids: Sequence[str]) -> dict[str, LedgerEntry]:
        """Return the rows with these ids, by id."""
        found = self._ledger.find({"_id": {"$in": ids}})
        return {row["_id"]: entry_of(row) async for row in found}

    @translate_errors
    async def page(
        self, account_uid: str, *, limit: int, after: tuple[datetime, str] | None = None
    ) -> list[LedgerEntry]:
        """Return a page of an account's rows, the newest first.

        Args:
            account_uid: The account.
            limit: The maximum number of rows.
            after: The time and the id of the last row of the previous page.
        """
        found = self._ledger.find(rows_after(account_uid, after)).sort(NEWEST_FIRST).limit(limit)
        return [entry_of(_without_foreign_receipt(row)) for row in await found.to_list(None)]

    @translate_errors
    async def by_day(self, since: datetime) -> list[DaySum]:
        """Return the sums of the rows of each UTC day, kind and currency, in no particular order.

        The database reads an index only.

        Args:
            since: The beginning of the first day.

        Raises:
            InvalidRequest: There are more rows than the database can add up in time.
        """
        stages: list[Document] = [
            {"$match": {"created_at": {"$gte": since}}},
            {
                "$group": {
                    "_id": {
                        "day": _DAY,
                        "kind": "$kind",
                        # Another service may write rows of kind `spent` without a currency.
                        "currency": {"$ifNull": ["$currency", ""]},
                    },
                    "rows": {"$sum": 1},
                    "credits": {"$sum": "$credits"},
                    "amount": {"$sum": "$amount"},
                }
            },
        ]
        return [
            DaySum(
                **row["_id"],
                rows=row["rows"],
                credits=round(row["credits"]),
                amount=round(row["amount"]),
            )
            for row in await self._sums(stages)
        ]

    @translate_errors
    async def corrected_money(self, since: datetime) -> list[CorrectedMoney]:
        """Return the money of the corrections of each UTC day, in no particular order.

        Args:
            since: The beginning of the first day.

        Raises:
            InvalidRequest: There are more rows than the database can add up in time.
        """
        is_returned = {"$ne": [{"$ifNull": ["$reverses", None]}, None]}
        stages: list[Document] = [
            {"$match": {"created_at": {"$gte": since}, "kind": "correction"}},
            {
                "$group": {
                    "_id": {"day": _DAY, "currency": "$currency", "is_returned": is_returned},
                    "amount": {"$sum": "$amount"},
                }
            },
        ]
        return [
            CorrectedMoney(**row["_id"], amount=row["amount"]) for row in await self._sums(stages)
        ]

    async def _sums(self, stages: list[Document]) -> list[Document]:
        """Return the documents of an aggregation that adds up rows.

        Raises:
            InvalidRequest: There are more rows than the database can add up in time.
        """
        try:
            return await aggregate(self._ledger, stages, maxTimeMS=_MAX_SUM_MS)
        except ExecutionTimeout as error:
            raise InvalidRequest(
                "These days have more payments than can be added up in time. Ask for fewer days."
            ) from error

    @translate_errors
    async def set_receipt_url(self, entry_id: str, receipt_url: str | None) -> None:
        """Store the URL of a top-up's receipt; None if it has none."""
        await self._ledger.update_one({"_id": entry_id}, {"$set": {"receipt_url": receipt_url}})


def rows_after(
    account_uid: str, after: tuple[datetime, str] | None, *, field: str = "account_uid"
) -> dict[str, Any]:
    """Return a query for an account's rows in the order of NEWEST_FIRST.

    Args:
        account_uid: The account.
        after: The time and the id of the row before; None for all rows.
        field: The field that has the account.
    """
    if after is None:
        return {field: account_uid}
    at, entry_id = after
    earlier = [{"created_at": {"$lt": at}}, {"_id": {"$lt": entry_id}}]
    return {field: account_uid, "created_at": {"$lte": at}, "$or": earlier}


def entry_of(row: dict[str, Any]) -> LedgerEntry:
    """Return a row as it was inserted. Rows of kind `spent` may lack most fields."""
    if row.get("kind") == "spent":
        row = {**_NO_PAYMENT, **row}
    return LedgerEntry.model_validate({**row, "id": row["_id"]})


def _without_foreign_receipt(row: dict[str, Any]) -> dict[str, Any]:
    """Return a row, without its receipt if a repair has given its payment to another account.

    The receipt names the payer.
    """
    account_uid = row["account_uid"]
    is_foreign = row.get("corrected", {}).get("account_uid", account_uid) != account_uid
    return {**row, "receipt_url": None} if is_foreign else row


def effective_entry(row: dict[str, Any]) -> LedgerEntry:
    """Return a row with its corrections, from which later refunds and disputes are computed.

    A repair does not change a row's fields. It stores the values that count in `corrected`.
    """
    return entry_of({**row, **row.get("corrected", {})})


def effective_kind(row: dict[str, Any]) -> str:
    """Return the kind that a row counts as. A repair may have corrected it."""
    return str(row.get("corrected", {}).get("kind", row["kind"]))
