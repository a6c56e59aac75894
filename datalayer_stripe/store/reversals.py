"""What refunds and disputes have taken off the top-ups, kept on each top-up's ledger row.

On the row: `reversals`, for each refund and dispute the `amount` that it holds back and the number
of its `moves`; `open_disputes`; and the tickets that put those who look at Stripe in order, as for
subscriptions. Each move is a ledger row of its own.
"""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

from pydantic import Field
from pymongo import ReturnDocument

from ..models import EntryKind, LedgerEntry, Model, Reversal
from .balances import insert_row, move_balance
from .errors import translated, translated_stream
from .ledger import effective_entry, entry_of
from .unit_of_work import CommitReceipt

_GIVEN_BACK: dict[str, EntryKind] = {"refund": "refund-failed", "dispute": "dispute-won"}

_PAGE = 500


class KeptReversal(Model):
    """`amount` is held back at present; `moves` counts the ledger rows of it."""

    amount: int
    moves: int


class ReversedTopUp(Model):
    """A top-up and what is held back of its payment, by the ids of refunds and disputes."""

    entry: LedgerEntry
    reversals: dict[str, KeptReversal] = Field(default_factory=dict)
    open_disputes: tuple[str, ...] = ()

    @property
    def amount(self) -> int:
        """What is held back in all; more than was paid, where refund and dispute overlap."""
        return sum(kept.amount for kept in self.reversals.values())


@dataclass(frozen=True)
class WriteReversals:
    """Write what a look at Stripe has found, unless a later ticket's is there.

    What has changed is found out here, in the transaction: the ledger's rows are the differences
    to what the top-up's row says now, whoever has written that.
    """

    payment_intent_id: str
    ticket: int
    reversals: Sequence[Reversal]
    event_id: str
    at: datetime
    floor: bool

    async def apply(self, database: Any, mongo_session: Any, receipt: CommitReceipt) -> None:
        # A row that no look has been written to yet has no written_ticket.
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
        kept = {cause: one.model_dump() for cause, one in found.reversals.items()}
        open_disputes = [one.id for one in self.reversals if one.is_open]
        if open_disputes:
            return {"$set": {"reversals": kept, "open_disputes": open_disputes}}
        # Absent, and not empty: the index is of those that have any.
        return {"$set": {"reversals": kept}, "$unset": {"open_disputes": ""}}


class Movements(NamedTuple):
    """Ledger rows, and what is held back after them."""

    entries: list[LedgerEntry]
    reversals: dict[str, KeptReversal]


def movements(top_up: ReversedTopUp, reversals: Sequence[Reversal]) -> Movements:
    """What leads from what is held back of a top-up to these reversals.

    A row's credits are the difference of what is taken back in all before and after it, so that
    they sum to the whole, however the amount is divided. A row's id is its refund's or dispute's;
    from the second move of the same on it has a number.
    """
    bought, entries, kept = top_up.entry, [], dict(top_up.reversals)
    total = top_up.amount
    for reversal in reversals:
        before = kept.get(reversal.id, KeptReversal(amount=0, moves=0))
        if reversal.amount == before.amount:
            continue
        moves = before.moves + 1
        kept[reversal.id] = KeptReversal(amount=reversal.amount, moves=moves)
        new_total = total + reversal.amount - before.amount
        changes = {
            "id": reversal.id if moves == 1 else f"{reversal.id}-{moves}",
            "kind": reversal.kind if reversal.amount else _GIVEN_BACK[reversal.kind],
            "credits": bought.taken_back(total) - bought.taken_back(new_total),
            "amount": before.amount - reversal.amount,
            "reverses": bought.id,
        }
        entries.append(bought.model_copy(update=changes))
        total = new_total
    return Movements(entries, kept)


def cause_of(entry: LedgerEntry) -> str:
    """Return the refund or dispute behind a row of a reversal, or behind a correction of it."""
    return (entry.corrects or entry.id).partition("-")[0]


def is_top_up() -> dict[str, Any]:
    """Return a query for rows that are top-ups, or that a repair has found to be top-ups."""
    return {"$or": [{"kind": "top-up"}, {"corrected.kind": "top-up"}]}


class Reversals:
    def __init__(self, database: Any) -> None:
        self._ledger = database.ledger

    @translated
    async def take_ticket(
        self, payment_intent_id: str, *, any_kind: bool = False
    ) -> tuple[LedgerEntry, int] | None:
        """A top-up and a number above every ticket taken before, for who is about to look.

        None where the top-up is not credited. With `any_kind` also of a payment's row that has
        another kind than it should.
        """
        row = await self._ledger.find_one_and_update(
            {"_id": payment_intent_id, **({} if any_kind else is_top_up())},
            {"$inc": {"ticket": 1}},
            return_document=ReturnDocument.AFTER,
        )
        return (effective_entry(row), int(row["ticket"])) if row else None

    @translated
    async def has_open_dispute(self, account_uid: str) -> bool:
        """Whether a dispute of one of the account's payments waits for its decision."""
        wanted = {"account_uid": account_uid, "open_disputes": {"$gt": ""}}  # any; uses the index
        return await self._ledger.find_one(wanted, {"_id": 1}) is not None

    @translated
    async def by_payments(self, payment_intent_ids: Sequence[str]) -> dict[str, ReversedTopUp]:
        """Those of these payments that are credited, by id."""
        wanted = {"_id": {"$in": list(payment_intent_ids)}, **is_top_up()}
        return {row["_id"]: reversed_top_up(row) async for row in self._ledger.find(wanted)}

    @translated
    async def rows_of(self, payment_intent_ids: Sequence[str]) -> list[LedgerEntry]:
        """The ledger's rows of the reversals of these payments."""
        wanted = {"reverses": {"$in": list(payment_intent_ids)}}
        return [entry_of(row) async for row in self._ledger.find(wanted).sort("_id", 1)]

    @translated_stream
    async def reversed_payments(self) -> AsyncIterator[list[str]]:
        """The payments that the ledger has a reversal of, each once, in pages."""
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
    return ReversedTopUp.model_validate({**row, "entry": effective_entry(row)})
