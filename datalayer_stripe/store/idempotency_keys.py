"""The idempotency keys that took the place of a key whose answer was an error.

Stripe saves the first answer to a key, also an error, and repeats it for at least 24 hours:
https://docs.stripe.com/api/idempotent_requests. A key that we derive from our own ids would
therefore fail for a day. A document here says which key is used instead; there is none until a
key has been replaced.
"""

import uuid
from datetime import datetime, timedelta
from typing import Any

from pymongo.errors import DuplicateKeyError

from .errors import translated

STUCK_AFTER = timedelta(minutes=1)
"""How long a key has to be refused as used for other parameters before it is replaced.

Longer than any request to Stripe takes, so that no request under it is still under way.
"""


class IdempotencyKeys:
    def __init__(self, database: Any) -> None:
        self._keys = database.idempotency_keys

    @translated
    async def current(self, base: str) -> str:
        """Return the key to use for the request that `base` names."""
        found = await self._keys.find_one({"_id": base}, {"suffix": 1})
        suffix = (found or {}).get("suffix")
        return f"{base}-{suffix}" if suffix else base

    @translated
    async def replace(self, base: str, key: str, now: datetime) -> None:
        """Let the next request use another key than `key`, unless another is in use already."""
        await self._replace(_is_current(base, key), now, upsert=True)

    @translated
    async def replace_if_stuck(self, base: str, key: str, now: datetime) -> None:
        """Replace a key that Stripe has refused as used for other parameters for a while."""
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

    async def _replace(self, document: dict[str, Any], now: datetime, *, upsert: bool) -> None:
        change = {
            "$set": {"suffix": uuid.uuid4().hex, "at": now},
            "$unset": {"refused_since": ""},
        }
        try:
            await self._keys.update_one(document, change, upsert=upsert)
        except DuplicateKeyError:
            return  # somebody else has replaced it


def _is_current(base: str, key: str) -> dict[str, Any]:
    """Match the document of `base` while it leads to `key`."""
    suffix = key[len(base) + 1 :]
    return {"_id": base, "suffix": suffix if suffix else {"$exists": False}}
