"""Accounts and their balances."""

from typing import Any

from ..models import Account
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
