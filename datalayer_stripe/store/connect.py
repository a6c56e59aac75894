"""Open the database: the one function that knows Motor, and the stand-in `memory://`.

Motor's successor, PyMongo's own asyncio client, has the same calls as are used elsewhere here;
changing drivers is changing this file.
"""

import asyncio
import logging
from typing import Any

import pymongo
from motor.motor_asyncio import AsyncIOMotorClient
from pymongo.errors import PyMongoError
from pymongo.uri_parser import parse_uri

from ..errors import StoreError
from .changes import Changes, StreamedChanges
from .commit import MemoryCommitter, Transactions
from .group import GroupCommitter
from .indexes import create_collections
from .store import Store

logger = logging.getLogger(__name__)

MEMORY_URL = "memory://"
DEFAULT_DATABASE = "datalayer_stripe"

# Bounds, so that a database that hangs costs an answer and not a worker: in milliseconds, and
# overridden by the same words in the URL.
_DEFAULTS: dict[str, Any] = {
    "serverSelectionTimeoutMS": 5_000,
    "connectTimeoutMS": 5_000,
    "socketTimeoutMS": 10_000,
    "maxPoolSize": 50,
}
_NAMES_SECONDS = 5.0

_STANDALONE = """\
DATALAYER_STRIPE_MONGODB_URL: this mongod stands alone, and credits are kept with transactions, \
which need a replica set. One node is enough: start it with `mongod --replSet rs0`, run \
`rs.initiate()` once in mongosh, and start this service again."""


async def connect(url: str, *, livemode: bool, expiring: bool = True) -> Store:
    """Connect, make collections and indexes, and return the store.

    `livemode` is bound to the database at its first use: test and live money never mix.
    Without `expiring` nothing is forgotten by its age, for a test whose clock is not the server's.
    Raises StoreError, with what to do, when the database cannot be used.
    """
    if url.startswith(MEMORY_URL):
        return await _connect_memory(livemode=livemode, expiring=expiring)
    client: Any = None
    try:
        # It asks the name server for what is behind mongodb+srv://, and waits for the answer.
        parsed = await asyncio.to_thread(parse_uri, url, connect_timeout=_NAMES_SECONDS)
        options = {
            name: value for name, value in _DEFAULTS.items() if name not in parsed["options"]
        }
        client = AsyncIOMotorClient(
            url,
            tz_aware=True,
            w="majority",
            readPreference="primary",
            # What is read decides what Stripe is told: it must not be lost with the primary.
            readConcernLevel="majority",
            appname="datalayer-stripe",
            **options,
        )
        hello = await client.admin.command("hello")
        if "setName" not in hello and hello.get("msg") != "isdbgrid":
            raise StoreError(_STANDALONE)
        database = client[parsed["database"] or DEFAULT_DATABASE]
        await _prepare(database, livemode=livemode, expiring=expiring)
    except (PyMongoError, ValueError) as error:
        _close(client)
        # The driver's message may repeat the URL, which may hold a password.
        raise StoreError(
            "DATALAYER_STRIPE_MONGODB_URL: the database cannot be used "
            f"({type(error).__name__}). Check that it runs, and the host, user and password."
        ) from None
    except StoreError:
        _close(client)
        raise
    return Store(
        client,
        database,
        GroupCommitter(Transactions(client, database)),
        StreamedChanges(client, database),
    )


async def _connect_memory(*, livemode: bool, expiring: bool) -> Store:
    try:
        from mongomock_motor import AsyncMongoMockClient  # noqa: PLC0415 (an optional extra)
    except ImportError:
        raise StoreError(
            "DATALAYER_STRIPE_MONGODB_URL is memory://, which needs an extra: "
            'pip install "datalayer-stripe[demo]". Or give the address of a MongoDB replica set.'
        ) from None
    logger.warning("The store is memory://: everything is FORGOTTEN when this process ends.")
    client: Any = AsyncMongoMockClient(tz_aware=True)
    database = client[DEFAULT_DATABASE]
    await _prepare(database, livemode=livemode, expiring=expiring)
    return Store(client, database, MemoryCommitter(database), Changes())


async def _prepare(database: Any, *, livemode: bool, expiring: bool) -> None:
    await create_collections(database, expiring=expiring)
    held = await database.service.find_one_and_update(
        {"_id": "mode"},
        {"$setOnInsert": {"livemode": livemode}},
        upsert=True,
        return_document=pymongo.ReturnDocument.AFTER,
    )
    if held["livemode"] is not livemode:
        held_mode, wanted_mode = ("live", "test") if held["livemode"] else ("test", "live")
        raise StoreError(
            f"DATALAYER_STRIPE_MONGODB_URL: this database holds {held_mode} data, and "
            f"DATALAYER_STRIPE_API_KEY is a {wanted_mode} key. Use another database name."
        )


def _close(client: Any) -> None:
    if client is not None:
        client.close()
