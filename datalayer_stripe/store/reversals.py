"""Reversals of top-ups by refunds and disputes, stored on each top-up's ledger row.

The row has `reversals`: for each refund and dispute, the `amount` that it holds back and the number
of its `moves`, which are ledger rows; `open_disputes`; and the tickets that order the reads of
Stripe, as for subscriptions.
"""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

from pydantic import Field
from pymongo import ReturnDocument

from ..models import EntryKind, LedgerEntry, Model, Reversal
from .balances import insert_row, move_balance
from .errors import translate_errors, translate_stream_errors
from .ledger import NEWEST_FIRST, effective_entry, entry_of, rows_after
from .unit_of_work import CommitReceipt

_RETURNED_KINDS: dict[str, EntryKind] = {"refund": "refund-failed", "dispute": "dispute-won"}

_PAGE = 500

# Timeout of a page on the server, in milliseconds. An account may have many rows of other kinds.
_MAX_READ_MS = 5000


class RecordedReversal(Model):
    """Reversal on a top-up's row.

    `amount` is held back at present; `moves` is the number of its ledger rows.
    """

    amount: int
    moves: int


class ReversedTopUp(Model):
    """Top-up and its reversals, by the ids of refunds and disputes."""

    entry: LedgerEntry
    reversals: dict[str, RecordedReversal] = Field(default_factory=dict)
    open_disputes: tuple[str, ...] = ()

    @property
    def amount(self) -> int:
        """The total amount held back. It exceeds the payment if refund and dispute overlap."""
        return sum(one.amount for one in self.reversals.values())


@dataclass(frozen=True)
class WriteReversals:
    """Write the refunds and disputes that were read from Stripe, unless a later ticket has written.

    The changes are computed in the transaction: the new ledger rows are the differences to the
    current state of the top-up's row.

    Attributes:
        payment_intent_id: The PaymentIntent's id.
        ticket: The ticket that was taken before the read.
        reversals: All refunds and disputes of the payment.
        event_id: The event that caused the read.
        at: The present time.
        floor: As for :func:`.balances.move_balance`.
    """

    payment_intent_id: str
    ticket: int
    reversals: Sequence[Reversal]
    event_id: str
    at: datetime
    floor: bool

    async def apply(self, database: Any, mongo_session: Any, receipt: CommitReceipt) -> None:
        # A row without reversals has no written_ticket.
        row = await database.ledger.find_one_and_update(
            {"_id": self.payment_intent_id, "written_ticket": {"$not": {"$gte": self.ticket}}},
            {"$set": {"written_ticket": self.ticket}},
            session=mongo_session,
        )
        if row is None:
            return
        found = movements(reversed_top_up(row), self.reversals)
        for change in found.entries:
            entry = change.model_copy(update={"event_id": self.event_id, "created_at": self.at})
            await insert_row(database, mongo_session, entry)
            await move_balance(database, mongo_session, entry, receipt, floor=self.floor)
        await database.ledger.update_one(
            {"_id": self.payment_intent_id}, self._state(found), session=mongo_session
        )

    def _state(self, found: "Movements") -> dict[str, Any]:
        recorded = {cause: one.model_dump() for cause, one in found.reversals.items()}
        open_disputes = [one.id for one in self.reversals if one.is_open]
        if open_disputes:
            return {"$set": {"reversals": recorded, "open_disputes": open_disputes}}
        # The field is removed, because the index is sparse.
        return {"$set": {"reversals": recorded}, "$unset": {"open_disputes": ""}}


class Movements(NamedTuple):
    """The ledger rows to insert, and the top-up's reversals once they are inserted."""

    entries: list[LedgerEntry]
    reversals: dict[str, RecordedReversal]


def movements(top_up: ReversedTopUp, reversals: Sequence[Reversal]) -> Movements:
    """Return the ledger rows for the changes of a top-up's reversals.

    A row's credits are the difference of the total credits taken back before and after it, so that
    the rows add up to all credits, however the amount is divided. The id of the first row of a
    refund or dispute is its id; the following rows have a number.

    Args:
        top_up: The top-up and its recorded reversals.
        reversals: The refunds and disputes at Stripe.
    """
    bought, entries, recorded = top_up.entry, [], dict(top_up.reversals)
    total = top_up.amount
    for reversal in reversals:
        before = recorded.get(reversal.id, RecordedReversal(amount=0, moves=0))
        if reversal.amount == before.amount:
            continue
        moves = before.moves + 1
        recorded[reversal.id] = RecordedReversal(amount=reversal.amount, moves=moves)
        new_total = total + reversal.amount - before.amount
        changes = {
            "id": reversal.id if moves == 1 else f"{reversal.id}-{moves}",
            "kind": reversal.kind if reversal.amount else _RETURNED_KINDS[reversal.kind],
            "credits": bought.taken_back(total) - bought.taken_back(new_total),
            "amount": before.amount - reversal.amount,
            "reverses": bought.id,
        }
        entries.append(bought.model_copy(update=changes))
        total = new_total
    return Movements(entries, recorded)


def cause_of(entry: LedgerEntry) -> str:
    """Return the id of the refund or dispute of a reversal's row, or of its correction."""
    return (entry.corrects or entry.id).partition("-")[0]


def is_top_up() -> dict[str, Any]:
    """Return a query for top-ups, including rows that a repair has corrected to top-ups."""
    return {"$or": [{"kind": "top-up"}, {"corrected.kind": "top-up"}]}


class Reversals:
    """Reader of the reversals in the collection `ledger`."""

    def __init__(self, database: Any) -> None:
        self._ledger = database.ledger

    @translate_errors
    async def take_ticket(
        self, payment_intent_id: str, *, any_kind: bool = False
    ) -> tuple[LedgerEntry, int] | None:
        """Take a ticket before a read of Stripe. Tickets only increase.

        Args:
            payment_intent_id: The PaymentIntent's id.
            any_kind: Whether the row may have another kind than a top-up, for a repair.

        Returns:
            The top-up and the ticket, or None if the top-up is not credited.
        """
        row = await self._ledger.find_one_and_update(
            {"_id": payment_intent_id, **({} if any_kind else is_top_up())},
            {"$inc": {"ticket": 1}},
            return_document=ReturnDocument.AFTER,
        )
        return (effective_entry(row), int(row["ticket"])) if row else None

    @translate_errors
    async def has_open_dispute(self, account_uid: str) -> bool:
        """Return whether a dispute of one of the account's payments is open."""
        # A repair may have corrected the account.
        of_account = [
            {"account_uid": account_uid, "corrected.account_uid": None},
            {"corrected.account_uid": account_uid},
        ]
        # Any id of a dispute. This form uses the index.
        wanted = {"open_disputes": {"$gt": ""}, "$or": of_account}
        return await self._ledger.find_one(wanted, {"_id": 1}) is not None

    @translate_errors
    async def by_payments(self, payment_intent_ids: Sequence[str]) -> dict[str, ReversedTopUp]:
        """Return the top-ups of these payments that are credited, by PaymentIntent id."""
        wanted = {"_id": {"$in": list(payment_intent_ids)}, **is_top_up()}
        return {row["_id"]: reversed_top_up(row) async for row in self._ledger.find(wanted)}

    @translate_errors
    async def page(
        self, account_uid: str, *, limit: int, after: tuple[datetime, str] | None = None
    ) -> list[ReversedTopUp]:
        """Return a page of an account's top-ups, the newest first.

        Args:
            account_uid: The account.
            limit: The maximum number of top-ups.
            after: The time and the id of the last top-up of the previous page.
        """
        # A repair may have corrected the account. Each part of `$or` reads an index in order.
        query = {
            "$or": [
                {"$and": [{**rows, **corrected}, is_top_up()]}
                for rows, corrected in (
                    (rows_after(account_uid, after), {"corrected.account_uid": None}),
                    (rows_after(account_uid, after, field="corrected.account_uid"), {}),
                )
            ]
        }
        found = self._ledger.find(query, max_time_ms=_MAX_READ_MS).sort(NEWEST_FIRST).limit(limit)
        return [reversed_top_up(row) for row in await found.to_list(None)]

    @translate_errors
    async def rows_of(self, payment_intent_ids: Sequence[str]) -> list[LedgerEntry]:
        """Return the ledger rows of the reversals of these payments."""
        wanted = {"reverses": {"$in": list(payment_intent_ids)}}
        return [entry_of(row) async for row in self._ledger.find(wanted).sort("_id", 1)]

    @translate_stream_errors
    async def reversed_payments(self) -> AsyncIterator[list[str]]:
        """Yield the ids of the payments with reversals in the ledger, each once, in pages."""
        page: list[str] = []
        last = None
        rows = self._ledger.find({"reverses": {"$gt": ""}}, {"reverses": 1})
        async for row in rows.sort("reverses", 1):
            if row["reverses"] == last:
                continue
            last = row["reverses"]
            page.append(last)
            if len(page) == _PAGE:
                yield page
                page = []
        if page:
            yield page


def reversed_top_up(row: dict[str, Any]) -> ReversedTopUp:
    """Return a top-up's row with its corrections and reversals."""
    return ReversedTopUp.model_validate({**row, "entry": effective_entry(row)})
