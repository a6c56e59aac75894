"""Accounts and their balances."""

from contextlib import suppress
from typing import Any

from pydantic import ValidationError

from ..models import Account, Identity
from .collection import CollectionSpec
from .errors import translate_errors

ACCOUNTS = CollectionSpec("accounts")


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
