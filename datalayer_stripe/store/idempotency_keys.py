"""Idempotency keys that replace a key whose saved answer is an error.

Stripe saves the first answer to a key, including errors, and repeats it for at least 24 hours:
https://docs.stripe.com/api/idempotent_requests. A key that the service derives from its own ids
would therefore fail for a day. A document names the key that is used instead. It is created when a
key is replaced.
"""

import uuid
from datetime import datetime, timedelta
from typing import Any

from pymongo import ASCENDING, IndexModel
from pymongo.errors import DuplicateKeyError

from .collection import CollectionSpec
from .errors import translate_errors

STUCK_AFTER = timedelta(minutes=1)
"""Replace a key that Stripe has refused for this time because of other parameters.

No request to Stripe takes so long, so that no request with the key is still in progress.
"""

# Stripe keeps a key for a day or more: https://docs.stripe.com/api/idempotent_requests.
KEY_TTL_SECONDS = 30 * 24 * 3600

IDEMPOTENCY_KEYS = CollectionSpec(
    "idempotency_keys", [IndexModel([("at", ASCENDING)], expireAfterSeconds=KEY_TTL_SECONDS)]
)


class IdempotencyKeys:
    """Collection `idempotency_keys`."""

    def __init__(self, database: Any) -> None:
        self._keys = database.idempotency_keys

    @translate_errors
    async def current(self, base: str) -> str:
        """Return the key to use instead of `base`, which is `base` until it is replaced."""
        found = await self._keys.find_one({"_id": base}, {"suffix": 1})
        suffix = (found or {}).get("suffix")
        return f"{base}-{suffix}" if suffix else base

    @translate_errors
    async def replace(self, base: str, key: str, now: datetime) -> None:
        """Replace a key, unless another process has replaced it.

        Args:
            base: The key that was derived from ids.
            key: The key that :meth:`current` has returned for it.
            now: The present time.
        """
        await self._replace(_is_current(base, key), now, upsert=True)

    @translate_errors
    async def replace_if_stuck(self, base: str, key: str, now: datetime) -> None:
        """Replace a key that Stripe has refused for STUCK_AFTER because of other parameters.

        Args:
            base: The key that was derived from ids.
            key: The key that :meth:`current` has returned for it.
            now: The present time.
        """
        current = _is_current(base, key)
        try:
            await self._keys.update_one(
                {**current, "refused_since": {"$exists": False}},
                {"$set": {"refused_since": now, "at": now}},
                upsert=True,
            )
        except DuplicateKeyError:
            refused_long_ago = {"refused_since": {"$lte": now - STUCK_AFTER}}
            await self._replace({**current, **refused_long_ago}, now, upsert=False)

    async def _replace(self, query: dict[str, Any], now: datetime, *, upsert: bool) -> None:
        change = {
            "$set": {"suffix": uuid.uuid4().hex, "at": now},
            "$unset": {"refused_since": ""},
        }
        try:
            await self._keys.update_one(query, change, upsert=upsert)
        except DuplicateKeyError:
            return  # Another process has replaced it.


def _is_current(base: str, key: str) -> dict[str, Any]:
    """Return a query for the document of `base` if it names `key`."""
    suffix = key[len(base) + 1 :]
    return {"_id": base, "suffix": suffix if suffix else {"$exists": False}}
