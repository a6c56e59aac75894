"""Accounts and their balances."""

from collections.abc import Sequence
from contextlib import suppress
from typing import Any, NamedTuple

from pydantic import Field, ValidationError
from pymongo import ASCENDING, IndexModel

from ..models import Account, Identity, Model
from .collection import CollectionSpec
from .driver import Document, aggregate
from .errors import translate_errors
from .positions import AccountPosition

# Balances change often and handles do not, so that a change of the balance writes no index.
ACCOUNTS = CollectionSpec(
    "accounts",
    [
        IndexModel(
            [("handle", ASCENDING), ("_id", ASCENDING)],
            partialFilterExpression={"handle": {"$gt": ""}},
        )
    ],
)

# Above all strings that begin with a prefix.
_LAST_CHARACTER = "\U0010ffff"

# Timeout of a search on the server, in milliseconds.
_MAX_READ_MS = 5000


class AccountDetails(Model):
    """An account, and the address that is stored for the operator."""

    account: Account
    email: str | None = Field(default=None, repr=False)


class FoundAccount(NamedTuple):
    """An account in a list, and the customer that it uses for purchases, or None."""

    account: Account
    customer_id: str | None


class AccountPage(NamedTuple):
    """A page of accounts, and the position of the next page, or None."""

    accounts: list[FoundAccount]
    next: AccountPosition | None


class Accounts:
    """Collection `accounts`: balance, debt and what is known of the owner."""

    def __init__(self, database: Any) -> None:
        self._accounts = database.accounts

    @translate_errors
    async def get(self, account_uid: str) -> Account:
        """Return the account. An unknown account has no credits."""
        return account_of(account_uid, await self._accounts.find_one({"_id": account_uid}) or {})

    @translate_errors
    async def exists(self, account_uid: str) -> bool:
        """Return whether the account has a balance, which may be 0."""
        return await self._accounts.find_one({"_id": account_uid}, {"_id": 1}) is not None

    @translate_errors
    async def page_after(self, account_uid: str, limit: int) -> tuple[list[Identity], str | None]:
        """Return accounts in the order of their uids.

        A page needs no open cursor, so that any time may pass before the next one.

        Args:
            account_uid: The last account of the page before; empty for the first page.
            limit: The maximum number of accounts.

        Returns:
            The accounts, with the handle and the address that are stored for the operator, and
            the uid after which the next page begins; None after the last page. An account whose
            uid is not valid, which the service has not written, is left out.
        """
        rows = (
            await self._accounts.find({"_id": {"$gt": account_uid}}, {"handle": 1, "email": 1})
            .sort("_id", 1)
            .limit(limit)
            .to_list(None)
        )
        identities = []
        for row in rows:
            with suppress(ValidationError):
                identities.append(Identity.model_validate({**row, "account_uid": row["_id"]}))
        return identities, rows[-1]["_id"] if len(rows) == limit else None

    @translate_errors
    async def details(self, account_uid: str) -> AccountDetails | None:
        """Return an account with the address of its owner, or None if it is unknown."""
        row = await self._accounts.find_one({"_id": account_uid})
        if row is None:
            return None
        return AccountDetails(account=account_of(account_uid, row), email=row.get("email"))

    @translate_errors
    async def search(
        self, prefix: str, *, limit: int, after: AccountPosition | None = None
    ) -> AccountPage:
        """Return the accounts whose uid or handle begins with a text.

        The accounts that are found by their uid come first, in the order of their uids; then those
        that are found by their handle only, in the order of their handles.

        Args:
            prefix: The text. The empty text finds all accounts by their uids.
            limit: The maximum number of accounts.
            after: The position of this page; None for the first page.
        """
        found: list[Document] = []
        if after is None or after.handle is None:
            found = await self._read(_by_uid(prefix, after), ["_id"], limit + 1)
        if prefix and len(found) <= limit:
            query = _by_handle(prefix, after)
            found += await self._read(query, ["handle", "_id"], limit + 1 - len(found))
        shown = found[:limit]
        return AccountPage(
            [
                FoundAccount(account_of(row["_id"], row), _customer_of(row["customers"]))
                for row in shown
            ],
            _position(shown[-1], prefix) if len(found) > limit else None,
        )

    async def _read(self, query: Document, order: Sequence[str], limit: int) -> list[Document]:
        """Return a page of accounts with their customers."""
        stages: list[Document] = [
            {"$match": query},
            {"$sort": dict.fromkeys(order, 1)},
            {"$limit": limit},
            {"$project": {"email": 0}},
            {
                "$lookup": {
                    "from": "customers",
                    "localField": "_id",
                    "foreignField": "_id",
                    "as": "customers",
                }
            },
        ]
        return await aggregate(self._accounts, stages, maxTimeMS=_MAX_READ_MS)

    @translate_errors
    async def describe(self, account_uid: str, *, handle: str | None, email: str | None) -> None:
        """Store the handle and the address that a token contains, for the operator.

        Args:
            account_uid: The account.
            handle: The handle; None keeps the stored one.
            email: The address; None keeps the stored one.
        """
        fields = {"handle": handle, "email": email}
        known = {name: value for name, value in fields.items() if value is not None}
        update: dict[str, Any] = {"$setOnInsert": {"credits": 0}}
        if known:
            update["$set"] = known
        await self._accounts.update_one({"_id": account_uid}, update, upsert=True)


def account_of(account_uid: str, row: dict[str, Any]) -> Account:
    """Return the account of a document, which is empty if there is none."""
    return Account.model_validate({**row, "uid": account_uid})


def _by_uid(prefix: str, after: AccountPosition | None) -> Document:
    """Return a query for the accounts whose uid begins with a text."""
    uids = _range(prefix)
    if after is not None:
        uids["$gt"] = after.uid
    return {"_id": uids} if uids else {}


def _by_handle(prefix: str, after: AccountPosition | None) -> Document:
    """Return a query for the accounts whose handle, but not their uid, begins with a text."""
    query: Document = {"handle": _range(prefix), "_id": {"$not": _range(prefix)}}
    if after is not None and after.handle is not None:
        later = [{"handle": {"$gt": after.handle}}, {"_id": {"$gt": after.uid}}]
        query = {"$and": [query, {"handle": {"$gte": after.handle}, "$or": later}]}
    return query


def _range(prefix: str) -> Document:
    """Return the condition that a text begins with `prefix`, as a range of an index."""
    return {"$gte": prefix, "$lt": prefix + _LAST_CHARACTER} if prefix else {}


def _position(row: Document, prefix: str) -> AccountPosition:
    """Return the position after an account of the list."""
    is_by_uid = row["_id"].startswith(prefix)
    return AccountPosition(uid=row["_id"], handle=None if is_by_uid else row["handle"])


def _customer_of(rows: Sequence[Document]) -> str | None:
    """Return the customer of an account from the joined documents: one or none."""
    return rows[0].get("customer_id") if rows else None
