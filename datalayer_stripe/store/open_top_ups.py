"""The PaymentIntent that an account was last given for a package, so that it is not given two."""

import uuid
from datetime import datetime
from typing import Any

from pymongo import ReturnDocument

from ..models import Model
from .errors import translated


class OpenTopUp(Model):
    """An account's wish for a package. All who ask while it stands get one PaymentIntent.

    `key` is what Stripe is asked under: those who ask at once ask for the very same one.
    """

    id: str
    key: str
    created_at: datetime
    payment_intent_id: str | None = None


class OpenTopUps:
    def __init__(self, database: Any) -> None:
        self._open = database.open_top_ups

    @translated
    async def claim(self, account_uid: str, price_id: str, now: datetime) -> OpenTopUp:
        """The wish that stands, else one from now on."""
        # Neither holds a blank: no two accounts share an id.
        return await self._standing(f"{account_uid} {price_id}", now)

    @translated
    async def renew(self, spent: OpenTopUp, now: datetime) -> OpenTopUp:
        """A new wish in place of one that is spent; somebody else's, who was faster."""
        await self._open.update_one(
            {"_id": spent.id, "key": spent.key},
            {"$set": _fresh(now), "$unset": {"payment_intent_id": ""}},
        )
        return await self._standing(spent.id, now)

    @translated
    async def assign(self, claim: OpenTopUp, payment_intent_id: str) -> None:
        """Keep which PaymentIntent Stripe made for it."""
        await self._open.update_one(
            {"_id": claim.id, "key": claim.key}, {"$set": {"payment_intent_id": payment_intent_id}}
        )

    @translated
    async def drop(self, claim: OpenTopUp) -> None:
        """Forget a wish that Stripe has not granted: the next one is asked under another key."""
        await self._open.delete_one(
            {"_id": claim.id, "key": claim.key, "payment_intent_id": {"$exists": False}}
        )

    async def _standing(self, wish_id: str, now: datetime) -> OpenTopUp:
        found = await self._open.find_one_and_update(
            {"_id": wish_id},
            {"$setOnInsert": _fresh(now)},
            upsert=True,
            return_document=ReturnDocument.AFTER,
        )
        return OpenTopUp.model_validate({**found, "id": found["_id"]})


def _fresh(now: datetime) -> dict[str, Any]:
    return {"key": uuid.uuid4().hex, "created_at": now}
