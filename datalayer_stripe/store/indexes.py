"""Collections and indexes, made at start. Idempotent, also when several processes start at once."""

import logging
from collections.abc import Sequence
from typing import Any

from pymongo import ASCENDING, DESCENDING, IndexModel
from pymongo.errors import CollectionInvalid, OperationFailure

from ..errors import StoreError
from ..settings import variable

logger = logging.getLogger(__name__)

# Stripe keeps events for 30 days; we keep ours well beyond, and then let MongoDB forget them.
# Ledger rows are never forgotten, and their ids protect credits for good.
EVENT_TTL_SECONDS = 180 * 24 * 3600

# Stripe forgets a key after a day or more: https://docs.stripe.com/api/idempotent_requests.
IDEMPOTENCY_KEY_TTL_SECONDS = 30 * 24 * 3600

INDEXES: dict[str, list[IndexModel]] = {
    "events": [
        IndexModel([("object_id", ASCENDING)]),
        IndexModel([("account_uid", ASCENDING), ("received_at", DESCENDING)]),
        IndexModel([("payment_intent_id", ASCENDING)], sparse=True),
        IndexModel([("failed", ASCENDING)], sparse=True),
        IndexModel([("rejected", ASCENDING)], sparse=True),
        IndexModel([("received_at", ASCENDING)], expireAfterSeconds=EVENT_TTL_SECONDS),
    ],
    "jobs": [IndexModel([("plugin", ASCENDING), ("due_at", ASCENDING)])],
    # The id last: the history's pages begin at an exact row.
    "ledger": [
        IndexModel([("account_uid", ASCENDING), ("created_at", DESCENDING), ("_id", DESCENDING)]),
        # Not sparse: a top-up's is null. Only of what points somewhere.
        IndexModel([("reverses", ASCENDING)], partialFilterExpression={"reverses": {"$gt": ""}}),
        IndexModel([("corrects", ASCENDING)], partialFilterExpression={"corrects": {"$gt": ""}}),
        IndexModel([("open_disputes", ASCENDING)], sparse=True),
    ],
    "accounts": [],
    # Sparse: a claim is a document without a customer yet.
    "customers": [IndexModel([("customer_id", ASCENDING)], unique=True, sparse=True)],
    # By customer id, and kept for good: a payment of long ago may be delivered again.
    "former_customers": [],
    "idempotency_keys": [
        IndexModel([("at", ASCENDING)], expireAfterSeconds=IDEMPOTENCY_KEY_TTL_SECONDS)
    ],
    # One for each account and package, kept: a PaymentIntent of long ago can still be paid.
    "open_payment_intents": [],
    "subscriptions": [
        IndexModel([("account_uid", ASCENDING)]),
        IndexModel([("customer_id", ASCENDING)]),
    ],
    "service": [],
}

_NAMESPACE_EXISTS = 48
_INDEX_CONFLICTS = frozenset({85, 86})  # IndexOptionsConflict, IndexKeySpecsConflict


async def create_collections(database: Any, *, expiring: bool = True) -> None:
    """Make what is missing. Collections first: a transaction is slower when it makes its own.

    Without `expiring` no index ends what is old.

    Raises:
        StoreError: an index of somebody else's is in the way.
    """
    existing = set(await database.list_collection_names())
    for name, indexes in INDEXES.items():
        if name not in existing:
            await _create_collection(database, name)
        wanted = [index for index in indexes if expiring or not _expires(index)]
        if wanted:
            if name in existing:
                await _announce(database[name], wanted)
            await _build(database[name], wanted)


async def _announce(collection: Any, wanted: Sequence[IndexModel]) -> None:
    """Log which indexes are about to be built on a collection that may be large."""
    built = await collection.index_information()
    missing = [name for index in wanted if (name := index.document["name"]) not in built]
    if missing:
        logger.info(
            "building indexes, which may take a while",
            extra={"collection": collection.name, "indexes": missing},
        )


async def _build(collection: Any, wanted: Sequence[IndexModel]) -> None:
    try:
        await collection.create_indexes(wanted)
    except OperationFailure as error:
        if error.code not in _INDEX_CONFLICTS:
            raise
        code_name = (error.details or {}).get("codeName", error.code)
        raise StoreError(
            f"{variable('stripe_mongodb_url')}: the collection {collection.name} has an index like "
            f"one of ours with other options ({code_name}). Drop that one, and start again: the "
            "service builds its own."
        ) from error


def _expires(index: IndexModel) -> bool:
    return "expireAfterSeconds" in index.document


async def _create_collection(database: Any, name: str) -> None:
    try:
        await database.create_collection(name)
    except CollectionInvalid:
        return  # another process was faster, as the driver saw
    except OperationFailure as error:
        if error.code != _NAMESPACE_EXISTS:  # the same, as the server saw
            raise
