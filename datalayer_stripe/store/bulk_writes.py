"""Write several units of work at once: one bulk write for each collection.

The bulk form of a unit assumes what is usual: the event and the ledger row are new, and the account
has no debt. If that is wrong for one unit, a write violates the unique index of `_id`. Then the
transaction is aborted, and nothing is written.
"""

from collections import Counter, defaultdict
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from pymongo.errors import DuplicateKeyError, WriteError

from ..models import LedgerEntry
from .driver import run_command

_DUPLICATE_KEY = 11000

# In this order: a delete is the last write of a document, and an insert the first one. Each is a
# command of MongoDB and the name of its list of writes:
# https://www.mongodb.com/docs/manual/reference/command/nav-crud/
_COMMANDS = {"insert": "documents", "update": "updates", "delete": "deletes"}


class BulkWrites:
    """The writes of a group of units, by collection.

    They are sent as commands. The driver's `bulk_write` checks each write, which takes longer than
    all other work of the driver.
    """

    def __init__(self) -> None:
        self._writes: dict[str, defaultdict[str, list[Any]]] = {
            command: defaultdict(list) for command in _COMMANDS
        }
        self._credits: Counter[str] = Counter()
        self._credited_at: dict[str, datetime] = {}

    def insert(self, collection: str, document: dict[str, Any]) -> None:
        """Add an insert. There must be no document with this `_id`."""
        self._writes["insert"][collection].append(document)

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
        self._writes["update"][collection].append({"q": query, "u": update, "upsert": upsert})

    def delete(self, collection: str, query: Mapping[str, Any]) -> None:
        """Add a delete of the document that matches, if there is one."""
        self._writes["delete"][collection].append({"q": query, "limit": 1})

    def add_credits(self, entry: LedgerEntry) -> None:
        """Add the credits of a new ledger row to the balance of its account.

        The account must have no debt. All credits of an account are added by one update.
        """
        self._credits[entry.account_uid] += entry.credits
        self._credited_at[entry.account_uid] = entry.created_at

    async def apply(self, database: Any, mongo_session: Any) -> None:
        """Apply all writes. Accounts, which are the most contended, are written last.

        Args:
            database: The driver's database.
            mongo_session: The session of the transaction.

        Raises:
            DuplicateKeyError: A document exists that must not exist.
        """
        for command, name in _COMMANDS.items():
            for collection, writes in self._writes[command].items():
                await _run(database, {command: collection, name: writes}, mongo_session)
        if self._credits:
            updates = self._balance_updates()
            await _run(database, {"update": "accounts", "updates": updates}, mongo_session)

    def _balance_updates(self) -> list[dict[str, Any]]:
        # An account with a debt does not match, and the upsert then violates the unique `_id`.
        return [
            {
                "q": {"_id": account_uid, "debt": {"$not": {"$gt": 0}}},
                "u": {
                    "$inc": {"credits": credits},
                    "$set": {"updated_at": self._credited_at[account_uid]},
                },
                "upsert": True,
            }
            for account_uid, credits in self._credits.items()
        ]


async def _run(database: Any, command: dict[str, Any], mongo_session: Any) -> None:
    """Run a command, and raise the error of its first write that was refused.

    Raises:
        DuplicateKeyError: A document exists that must not exist.
        WriteError: The database refuses a write for another reason.
    """
    reply = await run_command(database, command, mongo_session)
    for error in reply.get("writeErrors", ()):
        if error["code"] == _DUPLICATE_KEY:
            raise DuplicateKeyError(error["errmsg"], error["code"], error)
        raise WriteError(error["errmsg"], error["code"], error)
