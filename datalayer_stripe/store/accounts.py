"""Accounts and their balances."""

from typing import Any

from ..models import Account
from .errors import translated


class Accounts:
    def __init__(self, database: Any) -> None:
        self._accounts = database.accounts

    @translated
    async def get(self, account_uid: str) -> Account:
        """The account; one that we have never seen has no credits."""
        found = await self._accounts.find_one({"_id": account_uid}) or {}
        return Account.model_validate({**found, "uid": account_uid})

    @translated
    async def describe(self, account_uid: str, *, handle: str | None, email: str | None) -> None:
        """Keep what a token says of the account, for the operator."""
        known = {"handle": handle, "email": email}
        described = {name: value for name, value in known.items() if value is not None}
        update: dict[str, Any] = {"$setOnInsert": {"credits": 0}}
        if described:
            update["$set"] = described
        await self._accounts.update_one({"_id": account_uid}, update, upsert=True)
