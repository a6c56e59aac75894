"""Store events and ledger rows in bulk, as if they had been delivered before."""

from datetime import UTC, datetime
from typing import Any

from pymongo import MongoClient

from benchmarks.books import Row
from benchmarks.requests import ACCOUNTS, CREDITS, account_uid
from datalayer_stripe.store.indexes import declared_collections


def store_events(client: MongoClient[Row], count: int) -> None:
    """Store events with their ledger rows and balances in an empty database, and create indexes.

    The server makes the documents itself, and the indexes are built at the end, because that is
    the fastest. The documents have the fields of `payment_intent.succeeded` events that are done.

    Args:
        client: A client whose default database it is.
        count: The number of events, a multiple of the number of accounts.
    """
    database = client.get_default_database()
    database.seeds.insert_many([{"_id": account_uid(number)} for number in range(ACCOUNTS)])
    of_each = count // ACCOUNTS
    for name, fields in (("events", _event()), ("ledger", _ledger_row())):
        numbers = {"$range": [0, of_each]}
        database.seeds.aggregate(
            [
                {"$project": {"number": numbers}},
                {"$unwind": "$number"},
                {"$project": fields},
                {"$out": name},
            ],
            allowDiskUse=True,
        )
    database.accounts.insert_many(
        [
            {"_id": account_uid(number), "credits": of_each * CREDITS, "updated_at": _NOW}
            for number in range(ACCOUNTS)
        ]
    )
    database.seeds.drop()
    for collection in declared_collections().values():
        if collection.indexes:
            database[collection.name].create_indexes(list(collection.indexes))


_NOW = datetime.now(UTC)
_MAX_AGE = 170 * 24 * 3600 * 1000  # in milliseconds; older events expire

_SEED = {"$concat": ["$_id", "-", {"$toString": "$number"}]}
_HASH = {"$abs": {"$toHashedIndexKey": _SEED}}
_TIME = {"$subtract": [{"$literal": _NOW}, {"$mod": [_HASH, _MAX_AGE]}]}


def _id(prefix: str) -> dict[str, Any]:
    """Return the expression of an id that is as long and as random as Stripe's."""
    return {"$concat": [prefix, {"$toString": _HASH}, {"$toString": "$number"}]}


def _event() -> dict[str, Any]:
    literal = {
        "type": "payment_intent.succeeded",
        "livemode": False,
        "api_version": "2026-10-28.endive",
    }
    done = {"status": {"$literal": "done"}, "at": _TIME, "attempts": {"$literal": 1}}
    return {
        "_id": _id("evt_stored"),
        **{name: {"$literal": value} for name, value in literal.items()},
        "created": {"$toInt": {"$divide": [{"$toLong": _TIME}, 1000]}},
        "received_at": _TIME,
        "handlers": {"top-up-credits": {**done, "writes": {"$literal": 1}}},
        "object_id": _id("pi_stored"),
        "account_uid": "$_id",
    }


def _ledger_row() -> dict[str, Any]:
    literal = {
        "kind": "top-up",
        "credits": CREDITS,
        "amount": 500,
        "currency": "usd",
        "price_id": "price_benchmark",
        "reverses": None,
    }
    return {
        "_id": _id("pi_stored"),
        "event_id": _id("evt_stored"),
        **{name: {"$literal": value} for name, value in literal.items()},
        "created_at": _TIME,
        "account_uid": "$_id",
    }
