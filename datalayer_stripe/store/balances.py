"""Insert a ledger row and change its account's balance, in one transaction.

A balance is the sum of its ledger at every moment. If balances must not become negative, a row of
kind `debt` raises the balance to zero, and the account's `debt` increases by the same number. The
next credits pay the debt first, with a row of kind `debt-paid`. So a debt is the sum of the rows of
these two kinds.
"""

from typing import Any

from pymongo import ReturnDocument

from ..models import EntryKind, LedgerEntry
from .unit_of_work import CommitReceipt

DEBT_KINDS: tuple[EntryKind, EntryKind] = ("debt", "debt-paid")

# These fields are stored only if they have a value. Only repairs set them.
_OPTIONAL_FIELDS = frozenset({"corrects", "reason", "accepted"})


def row_of(entry: LedgerEntry) -> dict[str, Any]:
    """Return the fields of an entry's document, without its id.

    `receipt_url` is stored later, when the receipt is requested.
    """
    row = entry.model_dump(exclude={"id", "receipt_url"})
    return {
        name: value
        for name, value in row.items()
        if name not in _OPTIONAL_FIELDS or value is not None
    }


async def insert_row(database: Any, mongo_session: Any, entry: LedgerEntry) -> None:
    """Insert a row.

    Args:
        database: The driver's database.
        mongo_session: The session of the transaction; None on `memory://`.
        entry: The row.

    Raises:
        DuplicateKeyError: A row with this id exists.
    """
    await database.ledger.insert_one({"_id": entry.id, **row_of(entry)}, session=mongo_session)


async def move_balance(
    database: Any,
    mongo_session: Any,
    entry: LedgerEntry,
    receipt: CommitReceipt,
    *,
    floor: bool = False,
) -> None:
    """Change the balance by a row that was just inserted, and pay or add debt.

    Args:
        database: The driver's database.
        mongo_session: The session of the transaction; None on `memory://`.
        entry: The row.
        receipt: Gets the credits that were added or taken back.
        floor: Whether the balance must not become negative.
    """
    account = await _add(database, mongo_session, entry)
    receipt.credits_added += max(entry.credits, 0)
    receipt.credits_taken_back += max(-entry.credits, 0)
    settlement = _settlement(entry, account, floor=floor)
    if settlement is not None:
        await insert_row(database, mongo_session, settlement)
        await _add(database, mongo_session, settlement, debt=settlement.credits)


async def _add(
    database: Any, mongo_session: Any, entry: LedgerEntry, *, debt: int = 0
) -> dict[str, Any]:
    """Add a row's credits to its account, and return the account afterwards."""
    account: dict[str, Any] = await database.accounts.find_one_and_update(
        {"_id": entry.account_uid},
        {
            "$inc": {"credits": entry.credits} | ({"debt": debt} if debt else {}),
            "$set": {"updated_at": entry.created_at},
        },
        projection={"credits": 1, "debt": 1},
        upsert=True,
        return_document=ReturnDocument.AFTER,
        session=mongo_session,
    )
    return account


def _settlement(entry: LedgerEntry, account: dict[str, Any], *, floor: bool) -> LedgerEntry | None:
    """Return the row that adds or pays debt after this entry, or None."""
    balance, debt = account["credits"], account.get("debt", 0)
    kind: EntryKind = "debt-paid" if entry.credits > 0 else "debt"
    credits = 0
    if kind == "debt-paid":
        credits = -min(debt, max(balance, 0))
    elif floor:
        credits = max(-balance, 0)
    if credits == 0:
        return None
    changes = {
        "id": f"{entry.id}-{kind}",
        "kind": kind,
        "credits": credits,
        "amount": 0,
        "price_id": None,
        "reverses": None,
        "corrects": None,
        "reason": None,
        "accepted": None,
    }
    return entry.model_copy(update=changes)
