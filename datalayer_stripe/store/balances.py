"""Moving a balance: a ledger row and what it does to its account, in one transaction.

A balance is the sum of its ledger at every moment. One that must not go below zero is lifted to it
by a row of kind `debt`, and what the account owes then is in its `debt`; the next credits pay that
first, by a row of kind `debt-paid`. So a debt is the sum of the rows of these two kinds.
"""

from typing import Any

from pymongo import ReturnDocument

from ..models import EntryKind, LedgerEntry
from .unit_of_work import CommitReceipt

DEBT_KINDS: tuple[EntryKind, EntryKind] = ("debt", "debt-paid")


_RARE = frozenset({"corrects", "reason", "accepted"})


def row_of(entry: LedgerEntry) -> dict[str, Any]:
    """Return what is stored of an entry under its id.

    The receipt is stored once somebody has looked; what only repairs write, where it is set.
    """
    row = entry.model_dump(exclude={"id", "receipt_url"})
    return {name: value for name, value in row.items() if name not in _RARE or value is not None}


async def insert_row(database: Any, mongo_session: Any, entry: LedgerEntry) -> None:
    """Raises the driver's DuplicateKeyError where the id is taken."""
    await database.ledger.insert_one({"_id": entry.id, **row_of(entry)}, session=mongo_session)


async def move_balance(
    database: Any,
    mongo_session: Any,
    entry: LedgerEntry,
    receipt: CommitReceipt,
    *,
    floor: bool = False,
) -> None:
    """Let the balance follow a row that was just inserted; with `floor` not below zero."""
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
    """The account afterwards."""
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
    """The row by which a debt begins, grows or is paid after this entry, if one does."""
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
