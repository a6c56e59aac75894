"""The PaymentIntent that an account last received for each package."""

import uuid
from datetime import datetime
from typing import Any

from pymongo import ReturnDocument

from ..models import Model
from .collection import CollectionSpec
from .errors import translate_errors

# There is one document for each account and package. Documents do not expire, because an old
# PaymentIntent can still be paid.
OPEN_PAYMENT_INTENTS = CollectionSpec("open_payment_intents")


class OpenPaymentIntent(Model):
    """Claim of an account and a package, shared by concurrent requests.

    Attributes:
        id: The account's uid and the price's id.
        key: A part of the idempotency key, so that concurrent requests get the same PaymentIntent.
        since: When the PaymentIntent was assigned; before that, when the claim was created.
        payment_intent_id: The PaymentIntent; None until it is assigned.
    """

    id: str
    key: str
    since: datetime
    payment_intent_id: str | None = None


class OpenPaymentIntents:
    """Collection `open_payment_intents`."""

    def __init__(self, database: Any) -> None:
        self._open = database.open_payment_intents

    @translate_errors
    async def claim(self, account_uid: str, price_id: str, now: datetime) -> OpenPaymentIntent:
        """Return the existing claim of an account and a package, or create one.

        Args:
            account_uid: The account.
            price_id: The price of the package.
            now: The present time.
        """
        found = await self._open.find_one_and_update(
            # Neither part contains a blank, so the id is unique.
            {"_id": f"{account_uid} {price_id}"},
            {"$setOnInsert": {"key": uuid.uuid4().hex, "since": now}},
            upsert=True,
            return_document=ReturnDocument.AFTER,
        )
        return OpenPaymentIntent.model_validate({**found, "id": found["_id"]})

    @translate_errors
    async def assign(self, claim: OpenPaymentIntent, payment_intent_id: str, now: datetime) -> bool:
        """Store the PaymentIntent that was created for a claim.

        Args:
            claim: The claim.
            payment_intent_id: The PaymentIntent.
            now: The present time.

        Returns:
            False if the claim has another PaymentIntent or was deleted. Then nobody may get this
            PaymentIntent's client secret.
        """
        assigned = await self._open.update_one(
            {
                "_id": claim.id,
                "key": claim.key,
                "payment_intent_id": {"$in": [None, payment_intent_id]},
            },
            {"$set": {"payment_intent_id": payment_intent_id, "since": now}},
        )
        return bool(assigned.matched_count)

    @translate_errors
    async def delete(self, claim: OpenPaymentIntent) -> None:
        """Delete a claim, unless it has changed since it was read."""
        await self._open.delete_one(
            {"_id": claim.id, "key": claim.key, "payment_intent_id": claim.payment_intent_id}
        )
