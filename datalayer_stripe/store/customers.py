"""Which Stripe customer belongs to which account.

An account has at most one customer that is used for new purchases: `customers`. Customers that it
had before, or has besides, are kept in `former_customers`. They are never used for a purchase
again, but what they have paid and subscribed to still belongs to the account.
"""

import uuid
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from pydantic import Field
from pymongo import ReturnDocument
from pymongo.errors import DuplicateKeyError

from ..models import Identity, Model
from .errors import translated
from .unit_of_work import CommitReceipt


class Claim(Model):
    """An account's intention to become a customer, and what Stripe is to be told of it.

    Kept, so that every request that races asks Stripe for the very same customer. `key` is part
    of the idempotency key of that request; it is gone when there is a customer.
    """

    account_uid: str
    created_at: datetime
    key: str | None = None
    customer_id: str | None = None
    email: str | None = Field(default=None, repr=False)
    name: str | None = Field(default=None, repr=False)


@dataclass(frozen=True)
class ReleaseCustomer:
    """Keep a customer of one of our accounts as a former one; its account may get another.

    A customer that belongs to none of our accounts is another system's, and is not kept.
    """

    customer_id: str
    at: datetime

    async def apply(self, database: Any, mongo_session: Any, _: CommitReceipt) -> None:
        of_customer = {"customer_id": self.customer_id}
        tie = await database.customers.find_one(of_customer, {"_id": 1}, session=mongo_session)
        if tie is not None:
            account_uid = tie["_id"]
        else:
            # A customer that another system has made is known by its subscriptions alone. One that
            # pays for several accounts belongs to none of them.
            snapshots = database.subscriptions.find(
                {**of_customer, "account_uid": {"$type": "string"}},
                {"account_uid": 1},
                session=mongo_session,
            )
            named = {snapshot["account_uid"] async for snapshot in snapshots}
            if len(named) != 1:
                return
            [account_uid] = named
        # First the former customer, then the tie: outside of a transaction, a process that ends
        # between the two leaves a tie that is released again at its next use.
        await database.former_customers.update_one(
            {"_id": self.customer_id},
            {"$setOnInsert": {"account_uid": account_uid, "released_at": self.at}},
            upsert=True,
            session=mongo_session,
        )
        await database.customers.delete_one(of_customer, session=mongo_session)


class Customers:
    def __init__(self, database: Any) -> None:
        self._database = database
        self._customers = database.customers
        self._former = database.former_customers

    @translated
    async def get(self, account_uid: str) -> str | None:
        """Return the id of the customer that the account buys with, or None."""
        found = await self._customers.find_one({"_id": account_uid}, {"customer_id": 1})
        return (found or {}).get("customer_id")

    @translated
    async def account_of(self, customer_id: str) -> str | None:
        """Return the account whose customer this is, or was, or None if we do not know it."""
        return (await self._accounts_of([customer_id])).get(customer_id)

    @translated
    async def accounts_of(self, customer_ids: Collection[str]) -> dict[str, str]:
        """Return the accounts of these customers, present and former ones, by customer id."""
        return await self._accounts_of(customer_ids)

    async def _accounts_of(self, customer_ids: Collection[str]) -> dict[str, str]:
        wanted = {"$in": list(customer_ids)}
        former = await self._former.find({"_id": wanted}, {"account_uid": 1}).to_list(None)
        present = await self._customers.find({"customer_id": wanted}, {"customer_id": 1}).to_list(
            None
        )
        return {
            **{row["_id"]: row["account_uid"] for row in former},
            **{row["customer_id"]: row["_id"] for row in present},
        }

    @translated
    async def in_use(self, customer_ids: Collection[str]) -> dict[str, str]:
        """Return the accounts that buy with one of these customers, by customer id."""
        wanted = {"customer_id": {"$in": list(customer_ids)}}
        rows = await self._customers.find(wanted, {"customer_id": 1}).to_list(None)
        return {row["customer_id"]: row["_id"] for row in rows}

    @translated
    async def claim(self, identity: Identity, at: datetime) -> Claim:
        """Return the account's claim: the first caller's, for all."""
        document = {
            "email": identity.email,
            "name": identity.name,
            "created_at": at,
            "key": uuid.uuid4().hex,
        }
        found = await self._customers.find_one_and_update(
            {"_id": identity.account_uid},
            {"$setOnInsert": document},
            upsert=True,
            return_document=ReturnDocument.AFTER,
        )
        return Claim.model_validate({**found, "account_uid": identity.account_uid})

    @translated
    async def assign(self, account_uid: str, customer_id: str) -> str | None:
        """Give the account its customer, unless it has one; return the one that it has.

        None if its customer was released since the claim, or has become another account's.
        """
        try:
            await self._customers.update_one(
                {"_id": account_uid, "customer_id": {"$exists": False}}, _assignment(customer_id)
            )
        except DuplicateKeyError:
            return None
        found = await self._customers.find_one({"_id": account_uid}, {"customer_id": 1})
        return (found or {}).get("customer_id")

    @translated
    async def adopt(self, account_uid: str, customer_id: str, at: datetime) -> None:
        """Give the account a customer that exists at Stripe, unless one of the two has another.

        This needs no claim, as nothing is to be created.
        """
        try:
            await self._customers.update_one(
                {"_id": account_uid, "customer_id": {"$exists": False}},
                {**_assignment(customer_id), "$setOnInsert": {"created_at": at}},
                upsert=True,
            )
        except DuplicateKeyError:
            return

    @translated
    async def keep_as_former(self, account_uid: str, customer_id: str, at: datetime) -> None:
        """Keep a customer that the account has besides the one that it buys with."""
        await self._former.update_one(
            {"_id": customer_id},
            {"$setOnInsert": {"account_uid": account_uid, "released_at": at}},
            upsert=True,
        )

    @translated
    async def release(self, customer_id: str, at: datetime) -> None:
        """Apply :class:`ReleaseCustomer` by itself, where no plugin's work goes with it."""
        await ReleaseCustomer(customer_id, at).apply(self._database, None, CommitReceipt())


def _assignment(customer_id: str) -> dict[str, Any]:
    # Stripe holds the address and the name from now on.
    return {
        "$set": {"customer_id": customer_id},
        "$unset": {"email": "", "name": "", "key": ""},
    }
