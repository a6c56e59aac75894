"""Customers of accounts.

The collection `customers` has the customer that an account uses for new purchases. Customers that
the account had before, or has in addition, are in `former_customers`. They are never used for a
purchase again, but their payments and subscriptions still belong to the account.
"""

import uuid
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from pydantic import Field
from pymongo import ASCENDING, DESCENDING, IndexModel, ReturnDocument
from pymongo.errors import DuplicateKeyError

from ..models import Identity, Model
from .batched_read import BatchedRead
from .collection import CollectionSpec
from .errors import translate_errors
from .unit_of_work import CommitReceipt


class Claim(Model):
    """Claim of an account that has no customer yet, with the parameters for Stripe.

    Concurrent requests share the claim, so that they create the same customer. `key` is a part of
    their idempotency key. When the customer is assigned, email, name and key are deleted.
    """

    account_uid: str
    created_at: datetime
    key: str | None = None
    customer_id: str | None = None
    email: str | None = Field(default=None, repr=False)
    name: str | None = Field(default=None, repr=False)


@dataclass(frozen=True)
class ReleaseCustomer:
    """Store an account's customer as a former customer. The account may get another customer.

    A customer that belongs to no account is another system's, and is not stored.
    """

    customer_id: str
    at: datetime

    async def apply(self, database: Any, mongo_session: Any, _: CommitReceipt) -> None:
        query = {"customer_id": self.customer_id}
        present = await database.customers.find_one(query, {"_id": 1}, session=mongo_session)
        if present is not None:
            account_uid = present["_id"]
        else:
            # A customer that another system has created is known by its subscriptions only. If they
            # belong to several accounts, the customer belongs to none of them.
            snapshots = database.subscriptions.find(
                {**query, "account_uid": {"$type": "string"}},
                {"account_uid": 1},
                session=mongo_session,
            )
            account_uids = {snapshot["account_uid"] async for snapshot in snapshots}
            if len(account_uids) != 1:
                return
            [account_uid] = account_uids
        # The former customer is inserted first. Outside of a transaction, a process that crashes
        # between the two writes leaves a present customer that is released at its next use.
        await database.former_customers.update_one(
            {"_id": self.customer_id},
            {"$setOnInsert": {"account_uid": account_uid, "released_at": self.at}},
            upsert=True,
            session=mongo_session,
        )
        await database.customers.delete_one(query, session=mongo_session)


# Sparse, because a claim is a document without a customer.
CUSTOMERS = CollectionSpec(
    "customers", [IndexModel([("customer_id", ASCENDING)], unique=True, sparse=True)]
)

# The `_id` is the customer's id. Documents never expire: an old payment may be delivered again.
FORMER_CUSTOMERS = CollectionSpec(
    "former_customers",
    [IndexModel([("account_uid", ASCENDING), ("released_at", DESCENDING)])],
)


class FormerCustomer(Model):
    """A customer that an account had before, or has in addition."""

    customer_id: str
    released_at: datetime


MAX_KNOWN_OWNERS = 100_000
"""Maximum number of customers whose accounts are in memory, about 20 MB."""


class Customers:
    """Collections `customers` and `former_customers`."""

    def __init__(self, database: Any) -> None:
        self._known_owners: dict[str, str] = {}
        self._owners = BatchedRead(self.accounts_of)
        self._database = database
        self._customers = database.customers
        self._former = database.former_customers

    @translate_errors
    async def get(self, account_uid: str) -> str | None:
        """Return the id of the customer that the account uses for purchases, or None."""
        found = await self._customers.find_one({"_id": account_uid}, {"customer_id": 1})
        return (found or {}).get("customer_id")

    @translate_errors
    async def of_accounts(self, account_uids: Collection[str]) -> dict[str, str]:
        """Return the customers that the accounts use for purchases, by account uid."""
        wanted = {"_id": {"$in": list(account_uids)}, "customer_id": {"$exists": True}}
        rows = await self._customers.find(wanted, {"customer_id": 1}).to_list(None)
        return {row["_id"]: row["customer_id"] for row in rows}

    async def account_of(self, customer_id: str, *, expected: str | None = None) -> str | None:
        """Return the account of a present or former customer, or None if it is unknown.

        Concurrent calls share a read.

        Args:
            customer_id: The customer.
            expected: The account that probably has the customer. A customer never changes its
                account, so that the database is not read if a former read has found this account.

        Raises:
            StoreUnavailable: The database does not answer.
        """
        if expected is not None and self._known_owners.get(customer_id) == expected:
            return expected
        account_uid = await self._owners.get(customer_id)
        if account_uid is not None:
            if len(self._known_owners) >= MAX_KNOWN_OWNERS:
                del self._known_owners[next(iter(self._known_owners))]  # the oldest one
            self._known_owners[customer_id] = account_uid
        return account_uid

    @translate_errors
    async def accounts_of(self, customer_ids: Collection[str]) -> dict[str, str]:
        """Return the accounts of present and former customers, by customer id."""
        wanted = {"$in": list(customer_ids)}
        # The order matters: a customer that is released between the two reads is in one of them.
        present = await self._customers.find({"customer_id": wanted}, {"customer_id": 1}).to_list(
            None
        )
        owners: dict[str, str] = {row["customer_id"]: row["_id"] for row in present}
        others = [one for one in customer_ids if one not in owners]
        if others:
            former = self._former.find({"_id": {"$in": others}}, {"account_uid": 1})
            owners |= {row["_id"]: row["account_uid"] for row in await former.to_list(None)}
        return owners

    @translate_errors
    async def in_use(self, customer_ids: Collection[str]) -> dict[str, str]:
        """Return the accounts that use one of these customers for purchases, by customer id."""
        wanted = {"customer_id": {"$in": list(customer_ids)}}
        rows = await self._customers.find(wanted, {"customer_id": 1}).to_list(None)
        return {row["customer_id"]: row["_id"] for row in rows}

    @translate_errors
    async def former_of(self, account_uid: str, *, limit: int) -> list[FormerCustomer]:
        """Return the customers that an account had before, or has in addition, the newest first.

        Args:
            account_uid: The account.
            limit: The maximum number of customers.
        """
        found = self._former.find({"account_uid": account_uid}).sort("released_at", -1)
        rows = await found.limit(limit).to_list(None)
        return [FormerCustomer.model_validate({**row, "customer_id": row["_id"]}) for row in rows]

    @translate_errors
    async def claim(self, identity: Identity, at: datetime) -> Claim:
        """Return the account's claim. The first caller creates it.

        Args:
            identity: The account, and the address and name for Stripe.
            at: The present time.
        """
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

    @translate_errors
    async def assign(self, account_uid: str, customer_id: str) -> str | None:
        """Assign a new customer to the account, unless the account has a customer.

        Args:
            account_uid: The account.
            customer_id: The customer that was created for it.

        Returns:
            The account's customer. None if its claim was released, or if the customer belongs to
            another account.
        """
        try:
            assigned = await self._customers.find_one_and_update(
                {"_id": account_uid, "customer_id": {"$exists": False}},
                _assignment(customer_id),
                projection={"_id": 1},
            )
        except DuplicateKeyError:
            return None
        if assigned is not None:
            return customer_id
        found = await self._customers.find_one({"_id": account_uid}, {"customer_id": 1})
        return (found or {}).get("customer_id")

    @translate_errors
    async def adopt(
        self, account_uid: str, customer_id: str, at: datetime, *, is_unread: bool = False
    ) -> None:
        """Assign an existing customer to the account.

        Nothing is changed if the account has a customer, or the customer an account. No claim is
        needed, because no customer is created.

        Args:
            account_uid: The account.
            customer_id: The customer.
            at: The present time.
            is_unread: Whether the customer's subscriptions have to be read until :meth:`mark_read`.
        """
        update = {**_assignment(customer_id), "$setOnInsert": {"created_at": at}}
        if is_unread:
            update["$set"]["is_unread"] = True
        try:
            await self._customers.update_one(
                {"_id": account_uid, "customer_id": {"$exists": False}}, update, upsert=True
            )
        except DuplicateKeyError:
            return

    @translate_errors
    async def mark_read(self, customer_id: str) -> None:
        """Record that the subscriptions of an adopted customer are stored.

        Args:
            customer_id: The customer.
        """
        await self._customers.update_one(
            {"customer_id": customer_id}, {"$unset": {"is_unread": ""}}
        )

    @translate_errors
    async def unread_among(self, customer_ids: Collection[str]) -> set[str]:
        """Return those of the customers whose subscriptions have to be read."""
        wanted = {"customer_id": {"$in": list(customer_ids)}, "is_unread": True}
        rows = await self._customers.find(wanted, {"customer_id": 1}).to_list(None)
        return {row["customer_id"] for row in rows}

    @translate_errors
    async def add_former(self, account_uid: str, customer_id: str, at: datetime) -> None:
        """Store an additional customer of the account, which is not used for purchases.

        Args:
            account_uid: The account.
            customer_id: The customer.
            at: The present time.
        """
        await self._former.update_one(
            {"_id": customer_id},
            {"$setOnInsert": {"account_uid": account_uid, "released_at": at}},
            upsert=True,
        )

    @translate_errors
    async def release(self, customer_id: str, at: datetime) -> None:
        """Apply :class:`ReleaseCustomer` outside of a plugin's unit of work.

        Args:
            customer_id: The customer.
            at: The present time.
        """
        await ReleaseCustomer(customer_id, at).apply(self._database, None, CommitReceipt())


def _assignment(customer_id: str) -> dict[str, Any]:
    # From now on Stripe stores the address and the name.
    return {
        "$set": {"customer_id": customer_id},
        "$unset": {"email": "", "name": "", "key": ""},
    }
