"""Subscription snapshots, and the tickets that order their writes."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pymongo import ASCENDING, IndexModel, ReturnDocument

from ..models import SavedCard, SubscriptionSnapshot
from .bulk_writes import BulkWrites
from .collection import CollectionSpec
from .errors import translate_errors
from .unit_of_work import BulkOperation, CommitReceipt, Document


@dataclass(frozen=True)
class WriteSnapshot(BulkOperation):
    """Write a snapshot, unless a later ticket has written one.

    Ticket 0 is for a snapshot that was fetched before a ticket could be taken. It is written only
    if no ticket was taken yet.
    """

    snapshot: SubscriptionSnapshot
    ticket: int

    def add_to(self, bulk: BulkWrites, _: CommitReceipt) -> None:
        query, update, upsert = self._update()
        bulk.update("subscriptions", query, update, upsert=upsert)

    async def apply(self, database: Any, mongo_session: Any, _: CommitReceipt) -> None:
        query, update, upsert = self._update()
        await database.subscriptions.update_one(query, update, upsert=upsert, session=mongo_session)

    def _update(self) -> tuple[Document, Document, bool]:
        """Return the query, the update, and whether it is an upsert."""
        document = self.snapshot.model_dump(exclude={"id"})
        if document["plan_name"] is None:
            # Stripe's list cannot be expanded as deep as the product: keep the stored name.
            del document["plan_name"]
        if self.ticket == 0:
            inserted = {**document, "ticket": 0, "written_ticket": 0}
            return {"_id": self.snapshot.id}, {"$setOnInsert": inserted}, True
        query = {"_id": self.snapshot.id, "written_ticket": {"$lt": self.ticket}}
        return query, {"$set": {**document, "written_ticket": self.ticket}}, False


SUBSCRIPTIONS = CollectionSpec(
    "subscriptions",
    [IndexModel([("account_uid", ASCENDING)]), IndexModel([("customer_id", ASCENDING)])],
)


class Subscriptions:
    """Collection `subscriptions`."""

    def __init__(self, database: Any) -> None:
        self._database = database
        self._subscriptions = database.subscriptions

    @translate_errors
    async def take_ticket(self, subscription_id: str) -> int:
        """Return a ticket, before a read of Stripe. Tickets only increase."""
        found = await self._subscriptions.find_one_and_update(
            {"_id": subscription_id},
            {"$inc": {"ticket": 1}, "$setOnInsert": {"written_ticket": 0}},
            upsert=True,
            projection={"ticket": 1},
            return_document=ReturnDocument.AFTER,
        )
        return int(found["ticket"])

    @translate_errors
    async def write(self, snapshot: SubscriptionSnapshot, ticket: int) -> None:
        """Write a snapshot outside of a plugin's unit of work.

        Args:
            snapshot: The snapshot.
            ticket: The ticket that was taken before the read.
        """
        await WriteSnapshot(snapshot, ticket).apply(self._database, None, CommitReceipt())

    @translate_errors
    async def choose_card(self, subscription_id: str, card: SavedCard) -> SavedCard:
        """Store the card of a subscription, unless a later card is stored.

        Args:
            subscription_id: The subscription.
            card: The card.

        Returns:
            The card that is stored now.
        """
        document = card.model_dump()
        await self._subscriptions.update_one(
            {
                "_id": subscription_id,
                "$or": [{"card": {"$exists": False}}, {"card.order": {"$lt": card.order}}],
            },
            {"$set": {"card": {**document, "order": card.order}}},
        )
        found = await self._subscriptions.find_one({"_id": subscription_id}, {"card": 1})
        return SavedCard.model_validate(found["card"])

    @translate_errors
    async def account_of(self, subscription_id: str) -> str | None:
        """Return the account of the stored snapshot, or None."""
        found = await self._subscriptions.find_one({"_id": subscription_id}, {"account_uid": 1})
        return (found or {}).get("account_uid")

    @translate_errors
    async def accounts_of_customer(self, customer_id: str) -> set[str]:
        """Return the accounts whose subscriptions a customer pays for, by the snapshots."""
        wanted = {"customer_id": customer_id, "account_uid": {"$type": "string"}}
        rows = await self._subscriptions.find(wanted, {"account_uid": 1}).to_list(None)
        return {row["account_uid"] for row in rows}

    @translate_errors
    async def is_known(self, subscription_id: str) -> bool:
        """Return whether a snapshot of the subscription is stored."""
        wanted = {"_id": subscription_id, "status": {"$exists": True}}
        return await self._subscriptions.find_one(wanted, {"_id": 1}) is not None

    @translate_errors
    async def of_account(self, account_uid: str, *, limit: int = 0) -> list[SubscriptionSnapshot]:
        """Return the account's snapshots, in no particular order.

        Args:
            account_uid: The account.
            limit: The maximum number of snapshots; 0 for all.
        """
        found = self._subscriptions.find({"account_uid": account_uid}).limit(limit)
        return [snapshot_of(row) for row in await found.to_list(None)]

    @translate_errors
    async def by_ids(self, subscription_ids: Sequence[str]) -> dict[str, SubscriptionSnapshot]:
        """Return the snapshots of these subscriptions, by id."""
        wanted = {"_id": {"$in": list(subscription_ids)}, "status": {"$exists": True}}
        return {row["_id"]: snapshot_of(row) async for row in self._subscriptions.find(wanted)}


def snapshot_of(row: dict[str, Any]) -> SubscriptionSnapshot:
    """Return the snapshot that a document holds."""
    return SubscriptionSnapshot.model_validate({**row, "id": row["_id"]})
