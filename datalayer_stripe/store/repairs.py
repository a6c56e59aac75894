"""Repair the ledger by adding rows, and balances by setting them to the sum of the ledger.

Each repair computes its writes in its transaction, so that a second repair writes nothing. A repair
that runs concurrently with a delivery or another repair conflicts with it, because both write the
same account, the same top-up's row or a row with the same id. It is then computed again.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from ..errors import ExpectationFailed
from ..models import LedgerEntry
from .balances import DEBT_KINDS, insert_row, move_balance
from .corrections import (
    ExpectedPayment,
    correction_id,
    corrections,
    effective_fields,
    is_unknown,
    next_correction_number,
    recorded_reversals,
)
from .ledger import Credit, effective_kind, entry_of
from .reversals import reversed_top_up
from .unit_of_work import CommitReceipt


@dataclass(frozen=True)
class Repair:
    """Reason and time of a repair.

    Attributes:
        cause: The id of the run that repairs.
        reason: The reason, for the ledger row.
        at: The present time.
        floor: As for :func:`.balances.move_balance`.
    """

    cause: str
    reason: str
    at: datetime
    floor: bool

    def template(self) -> LedgerEntry:
        """Return a correction without account and credits, to be copied."""
        return LedgerEntry(
            id=self.cause,
            account_uid="-",
            kind="correction",
            credits=0,
            amount=0,
            currency="usd",
            price_id=None,
            event_id=self.cause,
            created_at=self.at,
            reason=self.reason,
        )


@dataclass(frozen=True)
class RepairBalance:
    """Set an account's balance and debt to the sums of its ledger, and add a row that says so."""

    account_uid: str
    repair: Repair

    async def apply(self, database: Any, mongo_session: Any, _: CommitReceipt) -> None:
        credits, debt, currency = 0, 0, "usd"
        correction_ids: list[str] = []
        found = database.ledger.find({"account_uid": self.account_uid}, session=mongo_session)
        async for row in found:
            credits += row["credits"]
            debt += row["credits"] if effective_kind(row) in DEBT_KINDS else 0
            if row.get("corrects") == self.account_uid:
                correction_ids.append(row["_id"])
            currency = row.get("currency", currency)
        key = {"_id": self.account_uid}
        account = await database.accounts.find_one(key, session=mongo_session) or {}
        before = (account.get("credits", 0), account.get("debt", 0))
        if before == (credits, debt):
            return
        text = f"{self.repair.reason}: balance {before[0]} to {credits}, debt {before[1]} to {debt}"
        number = next_correction_number(self.account_uid, correction_ids)
        changes = {
            "id": correction_id(self.account_uid, number),
            "account_uid": self.account_uid,
            "currency": currency,
            "corrects": self.account_uid,
            "reason": text,
        }
        row = self.repair.template().model_copy(update=changes)
        await insert_row(database, mongo_session, row)
        await database.accounts.update_one(
            key,
            {"$set": {"credits": credits, "debt": debt, "updated_at": self.repair.at}},
            upsert=True,
            session=mongo_session,
        )


@dataclass(frozen=True)
class RepairPayment:
    """Correct the rows of a payment to its state at Stripe.

    Attributes:
        expected: The state of the payment at Stripe.
        entry: The top-up's row to insert, if it was missing. The commit raises ExpectationFailed if
            it exists.
        ticket: The ticket of the read of Stripe, as for :class:`.reversals.WriteReversals`; None if
            the row was missing.
        repair: The reason and the time.
    """

    expected: ExpectedPayment
    entry: LedgerEntry | None
    ticket: int | None
    repair: Repair

    async def apply(self, database: Any, mongo_session: Any, receipt: CommitReceipt) -> None:
        payment_id = self.expected.payment_intent_id
        row = await self._top_up_row(database, mongo_session, receipt)
        if row is not None and row.get("written_ticket", 0) > (self.ticket or 0):
            raise ExpectationFailed("the result of a later read of Stripe has been written")
        either = [{"_id": payment_id}, {"corrects": payment_id}, {"reverses": payment_id}]
        found = database.ledger.find({"$or": either}, session=mongo_session)
        rows = [entry_of(one) async for one in found]
        for correction in corrections(self.expected, rows, self.repair.template()):
            await insert_row(database, mongo_session, correction)
            await move_balance(
                database, mongo_session, correction, receipt, floor=self.repair.floor
            )
        if row is not None:
            await database.ledger.update_one(
                {"_id": payment_id}, self._state(row, rows), session=mongo_session
            )

    async def _top_up_row(
        self, database: Any, mongo_session: Any, receipt: CommitReceipt
    ) -> dict[str, Any] | None:
        key = {"_id": self.expected.payment_intent_id}
        if self.entry is not None:
            await Credit(self.entry).apply(database, mongo_session, receipt)
            if self.entry.id in receipt.already_credited:
                # Stripe was read before this row existed, and without a ticket.
                raise ExpectationFailed("another process has credited the payment")
        found: dict[str, Any] | None = await database.ledger.find_one(key, session=mongo_session)
        return found

    def _state(self, row: dict[str, Any], rows: list[LedgerEntry]) -> dict[str, Any]:
        """Return the update of the top-up's row: the state that is stored beside its fields."""
        reversals = recorded_reversals(self.expected, rows, reversed_top_up(row).reversals)
        state: dict[str, Any] = {
            "reversals": {cause: one.model_dump() for cause, one in reversals.items()},
            "open_disputes": [one.id for one in self.expected.reversals if one.is_open],
            "corrected": effective_fields(row, self.expected),
            "written_ticket": self.ticket,
        }
        unset = {name: "" for name, value in state.items() if not value}
        written = {name: value for name, value in state.items() if value}
        return {
            **({"$set": written} if written else {}),
            **({"$unset": unset} if unset else {}),
        }


@dataclass(frozen=True)
class RepairUnknownRow:
    """Reverse a row of an unknown kind, unless it belongs to a payment.

    :class:`RepairPayment` corrects the rows of a payment.
    """

    row_id: str
    repair: Repair
    belongs_to_payment: bool

    async def apply(self, database: Any, mongo_session: Any, receipt: CommitReceipt) -> None:
        row = await database.ledger.find_one({"_id": self.row_id}, session=mongo_session)
        if row is None or not is_unknown(row):
            return
        corrected = {"$set": {"corrected": {"kind": "unknown"}}}
        await database.ledger.update_one({"_id": self.row_id}, corrected, session=mongo_session)
        if self.belongs_to_payment:
            return
        changes = {
            "id": correction_id(self.row_id, 1),
            "account_uid": row["account_uid"],
            "credits": -row["credits"],
            "amount": -row.get("amount", 0),
            "currency": row.get("currency", "usd"),
            "corrects": self.row_id,
        }
        entry = self.repair.template().model_copy(update=changes)
        await insert_row(database, mongo_session, entry)
        await move_balance(database, mongo_session, entry, receipt, floor=self.repair.floor)
