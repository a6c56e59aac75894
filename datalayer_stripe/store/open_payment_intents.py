"""The PaymentIntent that an account was last given for a package, so that it is not given two."""

import uuid
from datetime import datetime
from typing import Any

from pymongo import ReturnDocument

from ..models import Model
from .errors import translated


class OpenPaymentIntent(Model):
    """An account's wish for a package. All who ask while it stands get one PaymentIntent.

    `key` is what Stripe is asked under: those who ask at once ask for the very same one. `since`
    is when that was given, and before it was, when it was wished for.
    """

    id: str
    key: str
    since: datetime
    payment_intent_id: str | None = None


class OpenPaymentIntents:
    def __init__(self, database: Any) -> None:
        self._open = database.open_payment_intents

    @translated
    async def claim(self, account_uid: str, price_id: str, now: datetime) -> OpenPaymentIntent:
        """The wish that stands, else one from now on."""
        found = await self._open.find_one_and_update(
            # Neither holds a blank: no two accounts share an id.
            {"_id": f"{account_uid} {price_id}"},
            {"$setOnInsert": {"key": uuid.uuid4().hex, "since": now}},
            upsert=True,
            return_document=ReturnDocument.AFTER,
        )
        return OpenPaymentIntent.model_validate({**found, "id": found["_id"]})

    @translated
    async def assign(self, wish: OpenPaymentIntent, payment_intent_id: str, now: datetime) -> bool:
        """Keep which PaymentIntent was made for it. False where the wish has another, or is gone.

        Who is told so must not give the PaymentIntent to anybody.
        """
        assigned = await self._open.update_one(
            {
                "_id": wish.id,
                "key": wish.key,
                "payment_intent_id": {"$in": [None, payment_intent_id]},
            },
            {"$set": {"payment_intent_id": payment_intent_id, "since": now}},
        )
        return bool(assigned.matched_count)

    @translated
    async def forget(self, wish: OpenPaymentIntent) -> None:
        """Let the next one be another, unless this one has changed meanwhile."""
        await self._open.delete_one(
            {"_id": wish.id, "key": wish.key, "payment_intent_id": wish.payment_intent_id}
        )
