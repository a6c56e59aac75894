"""Write several units of work at once: one bulk write for each collection.

The bulk form of a unit assumes what is usual: the event and the ledger row are new, and the account
has no debt. If that is wrong for one unit, a write violates the unique index of `_id`. Then the
transaction is aborted, and nothing is written.
"""

from collections import Counter, defaultdict
from collections.abc import Mapping
from datetime import datetime
from typing import Any

import pymongo
from pymongo.errors import BulkWriteError, DuplicateKeyError

from ..models import LedgerEntry

_DUPLICATE_KEY = 11000


class BulkWrites:
    """The writes of a group of units, by collection.

    Inserts are applied before updates, and updates before deletes.
    """

    def __init__(self) -> None:
        self._inserts: defaultdict[str, list[Any]] = defaultdict(list)
        self._updates: defaultdict[str, list[Any]] = defaultdict(list)
        self._deletes: defaultdict[str, list[Any]] = defaultdict(list)
        self._credits: Counter[str] = Counter()
        self._credited_at: dict[str, datetime] = {}

    def insert(self, collection: str, document: dict[str, Any]) -> None:
        """Add an insert. There must be no document with this `_id`."""
        self._inserts[collection].append(pymongo.InsertOne(document))

    def update(
        self,
        collection: str,
        query: Mapping[str, Any],
        update: Mapping[str, Any],
        *,
        upsert: bool = False,
    ) -> None:
        """Add an update of one document.

        Args:
            collection: The name of the collection.
            query: The `_id` of the document, and conditions.
            update: MongoDB's update operators.
            upsert: Whether to insert the document if there is none with this `_id`. There must be
                none that has this `_id` and does not meet the conditions.
        """
        self._updates[collection].append(pymongo.UpdateOne(query, update, upsert=upsert))

    def delete(self, collection: str, query: Mapping[str, Any]) -> None:
        """Add a delete of the document that matches, if there is one."""
        self._deletes[collection].append(pymongo.DeleteOne(query))

    def add_credits(self, entry: LedgerEntry) -> None:
        """Add the credits of a new ledger row to the balance of its account.

        The account must have no debt. All credits of an account are added by one update.
        """
        self._credits[entry.account_uid] += entry.credits
        self._credited_at[entry.account_uid] = entry.created_at

    async def apply(self, database: Any, mongo_session: Any) -> None:
        """Apply all writes.

        Args:
            database: The driver's database.
            mongo_session: The session of the transaction.

        Raises:
            DuplicateKeyError: A document exists that must not exist.
        """
        for name in dict.fromkeys([*self._inserts, *self._updates, *self._deletes]):
            writes = [*self._inserts[name], *self._updates[name], *self._deletes[name]]
            await _write(database[name], writes, mongo_session)
        if self._credits:
            await _write(database.accounts, self._balance_updates(), mongo_session)

    def _balance_updates(self) -> list[Any]:
        # An account with a debt does not match, and the upsert then violates the unique `_id`.
        return [
            pymongo.UpdateOne(
                {"_id": account_uid, "debt": {"$not": {"$gt": 0}}},
                {
                    "$inc": {"credits": credits},
                    "$set": {"updated_at": self._credited_at[account_uid]},
                },
                upsert=True,
            )
            for account_uid, credits in self._credits.items()
        ]


async def _write(collection: Any, writes: list[Any], mongo_session: Any) -> None:
    try:
        await collection.bulk_write(writes, session=mongo_session)
    except BulkWriteError as error:
        [first] = error.details["writeErrors"]
        if first["code"] == _DUPLICATE_KEY:
            raise DuplicateKeyError(f"a document exists in {collection.name}") from error
        raise
