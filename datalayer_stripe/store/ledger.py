"""The append-only record of credit movements, and the balances that are its sums."""

from dataclasses import dataclass
from typing import Any

from ..models import LedgerEntry
from .unit import CommitReceipt


@dataclass(frozen=True)
class Credit:
    """Add a ledger row and its credits to the account's balance, unless the row is there.

    The row's id is its cause's. The balance moves only where the row was inserted, in the same
    transaction, so balance = sum of ledger at every moment.
    """

    entry: LedgerEntry

    async def apply(self, database: Any, mongo_session: Any, receipt: CommitReceipt) -> None:
        row = self.entry.model_dump(exclude={"id"})
        inserted = await database.ledger.update_one(
            {"_id": self.entry.id}, {"$setOnInsert": row}, upsert=True, session=mongo_session
        )
        if inserted.upserted_id is None:
            receipt.already_credited.append(self.entry.id)
            return
        await database.accounts.update_one(
            {"_id": self.entry.account_uid},
            {
                "$inc": {"credits": self.entry.credits},
                "$set": {"updated_at": self.entry.created_at},
            },
            upsert=True,
            session=mongo_session,
        )
        receipt.credits_added += self.entry.credits
