"""Subscription snapshots, and the tickets that put their writers in order."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pymongo import ReturnDocument

from ..models import SavedCard, SubscriptionSnapshot
from .errors import translated
from .unit_of_work import CommitReceipt


@dataclass(frozen=True)
class WriteSnapshot:
    """Write a snapshot, unless a later ticket's is there.

    Ticket 0 is for a snapshot that was fetched before a ticket could be taken: it is written
    only where nobody has taken one.
    """

    snapshot: SubscriptionSnapshot
    ticket: int

    async def apply(self, database: Any, mongo_session: Any, _: CommitReceipt) -> None:
        document = self.snapshot.model_dump(exclude={"id"})
        if document["plan_name"] is None:
            # A list cannot be expanded as deep as the product: what we know is not forgotten.
            del document["plan_name"]
        if self.ticket == 0:
            await database.subscriptions.update_one(
                {"_id": self.snapshot.id},
                {"$setOnInsert": {**document, "ticket": 0, "written_ticket": 0}},
                upsert=True,
                session=mongo_session,
            )
            return
        await database.subscriptions.update_one(
            {"_id": self.snapshot.id, "written_ticket": {"$lt": self.ticket}},
            {"$set": {**document, "written_ticket": self.ticket}},
            session=mongo_session,
        )


class Subscriptions:
    def __init__(self, database: Any) -> None:
        self._database = database
        self._subscriptions = database.subscriptions

    @translated
    async def take_ticket(self, subscription_id: str) -> int:
        """A number above every ticket taken before, for who is about to look at Stripe."""
        found = await self._subscriptions.find_one_and_update(
            {"_id": subscription_id},
            {"$inc": {"ticket": 1}, "$setOnInsert": {"written_ticket": 0}},
            upsert=True,
            projection={"ticket": 1},
            return_document=ReturnDocument.AFTER,
        )
        return int(found["ticket"])

    @translated
    async def write(self, snapshot: SubscriptionSnapshot, ticket: int) -> None:
        """Write a snapshot by itself, where no plugin's work goes with it."""
        await WriteSnapshot(snapshot, ticket).apply(self._database, None, CommitReceipt())

    @translated
    async def choose_card(self, subscription_id: str, card: SavedCard) -> SavedCard:
        """Keep the card for the subscription unless a later one is kept; return the one kept."""
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

    @translated
    async def account_of(self, subscription_id: str) -> str | None:
        """Return the account of our snapshot, or None where we hold none."""
        found = await self._subscriptions.find_one({"_id": subscription_id}, {"account_uid": 1})
        return (found or {}).get("account_uid")

    @translated
    async def accounts_of_customer(self, customer_id: str) -> set[str]:
        """Return the accounts whose subscriptions a customer pays for, by our snapshots."""
        wanted = {"customer_id": customer_id, "account_uid": {"$type": "string"}}
        rows = await self._subscriptions.find(wanted, {"account_uid": 1}).to_list(None)
        return {row["account_uid"] for row in rows}

    @translated
    async def is_known(self, subscription_id: str) -> bool:
        """Whether we hold a snapshot of it."""
        wanted = {"_id": subscription_id, "status": {"$exists": True}}
        return await self._subscriptions.find_one(wanted, {"_id": 1}) is not None

    @translated
    async def of_account(self, account_uid: str) -> list[SubscriptionSnapshot]:
        """The account's snapshots, in no order."""
        found = await self._subscriptions.find({"account_uid": account_uid}).to_list(None)
        return [_snapshot(row) for row in found]

    @translated
    async def by_ids(self, subscription_ids: Sequence[str]) -> dict[str, SubscriptionSnapshot]:
        """The snapshots of these subscriptions, by id."""
        wanted = {"_id": {"$in": list(subscription_ids)}, "status": {"$exists": True}}
        return {row["_id"]: _snapshot(row) async for row in self._subscriptions.find(wanted)}


def _snapshot(row: dict[str, Any]) -> SubscriptionSnapshot:
    return SubscriptionSnapshot.model_validate({**row, "id": row["_id"]})
