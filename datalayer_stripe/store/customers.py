"""Which Stripe customer an account is: at most one each way."""

from datetime import datetime
from typing import Any

from pydantic import Field
from pymongo import ReturnDocument

from ..models import Identity, Model
from .errors import translated


class Claim(Model):
    """An account's intention to become a customer, and what Stripe is to be told of it.

    Kept, so that every request that races asks Stripe for the very same customer.
    """

    account_uid: str
    created_at: datetime
    customer_id: str | None = None
    email: str | None = Field(default=None, repr=False)
    name: str | None = Field(default=None, repr=False)


class Customers:
    def __init__(self, database: Any) -> None:
        self._customers = database.customers

    @translated
    async def get(self, account_uid: str) -> str | None:
        """The account's customer id, if it has one."""
        found = await self._customers.find_one({"_id": account_uid}, {"customer_id": 1})
        return (found or {}).get("customer_id")

    @translated
    async def account_of(self, customer_id: str) -> str | None:
        """The account whose customer this is, if we know it."""
        found = await self._customers.find_one({"customer_id": customer_id}, {"_id": 1})
        return found["_id"] if found else None

    @translated
    async def ties(
        self, account_uid: str, customer_id: str | None
    ) -> tuple[str | None, str | None]:
        """The account's customer, and the customer's account, where we know them: one query."""
        either: list[dict[str, Any]] = [{"_id": account_uid}]
        if customer_id is not None:
            either.append({"customer_id": customer_id})
        rows = await self._customers.find({"$or": either}, {"customer_id": 1}).to_list(None)
        known = next((row.get("customer_id") for row in rows if row["_id"] == account_uid), None)
        owners = (row["_id"] for row in rows if row.get("customer_id") == customer_id)
        return known, next(owners, None) if customer_id else None

    @translated
    async def claim(self, identity: Identity, at: datetime) -> Claim:
        """The account's claim: the first caller's, for all."""
        document = {"email": identity.email, "name": identity.name, "created_at": at}
        found = await self._customers.find_one_and_update(
            {"_id": identity.account_uid},
            {"$setOnInsert": document},
            upsert=True,
            return_document=ReturnDocument.AFTER,
        )
        return Claim.model_validate({**found, "account_uid": identity.account_uid})

    @translated
    async def assign(self, account_uid: str, customer_id: str) -> str:
        """Give the account its customer, unless it has one; return the one that it has."""
        await self._customers.update_one(
            {"_id": account_uid, "customer_id": {"$exists": False}},
            # Stripe holds these from now on.
            {"$set": {"customer_id": customer_id}, "$unset": {"email": "", "name": ""}},
        )
        found = await self._customers.find_one({"_id": account_uid}, {"customer_id": 1})
        return str(found["customer_id"])
