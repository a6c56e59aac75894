"""Open the database: a MongoDB with Motor or PyMongo's asyncio client, or `memory://`.

Only this module chooses between the drivers. `driver` has the few calls in which they differ.
"""

import asyncio
import logging
from collections.abc import Mapping
from typing import Any, NamedTuple

import pymongo
from pymongo import AsyncMongoClient
from pymongo.errors import PyMongoError
from pymongo.uri_parser import parse_uri

from ..errors import StoreError
from ..metrics import Metrics, Pool
from ..settings import DriverName, variable
from ..tracing import NO_TRACER, Tracer
from .change_stream import Changes, StreamedChanges
from .commit import MemoryCommitter, Transactions
from .diagnosis import VARIABLE, explain, is_standalone, standalone_message
from .driver import MAX_CONNECTIONS, MakeCalls, call_directly, close
from .group_commit import GroupCommitter
from .indexes import create_collections
from .motor_clients import PluginMotorClient, ServiceMotorClient, call_in_one_thread
from .pool_listener import PoolListener
from .store import Store

logger = logging.getLogger(__name__)

MEMORY_URL = "memory://"
DEFAULT_DATABASE = "datalayer_stripe"


class Driver(NamedTuple):
    """A driver: the classes of its clients.

    Attributes:
        client: The class of the service's client.
        plugin_client: The class of the client for the plugins' own collections. It has connections
            of its own, so that slow queries of plugins do not delay credits.
        make_calls: Makes the calls of a transaction.
    """

    client: Any
    plugin_client: Any
    make_calls: MakeCalls


DRIVERS: dict[DriverName, Driver] = {
    "motor": Driver(ServiceMotorClient, PluginMotorClient, call_in_one_thread),
    "pymongo": Driver(AsyncMongoClient, AsyncMongoClient, call_directly),
}

# Timeouts in milliseconds, so that a database that hangs does not block requests forever. Options
# of the URL override them.
_DEFAULTS: dict[str, Any] = {
    "serverSelectionTimeoutMS": 5_000,
    "connectTimeoutMS": 5_000,
    "socketTimeoutMS": 10_000,
    "maxPoolSize": MAX_CONNECTIONS,
}
_DNS_TIMEOUT_SECONDS = 5.0

_MODE = {"_id": "mode"}


async def connect(
    url: str,
    *,
    livemode: bool,
    driver: DriverName = "motor",
    metrics: Metrics | None = None,
    expiring: bool = True,
    prepare: bool = True,
    tracer: Tracer = NO_TRACER,
) -> Store:
    """Connect to the database, create its collections and indexes, and return the store.

    Args:
        url: The URL of a replica set, or `memory://`.
        livemode: The mode. It is bound to the database at the first use, so that test and live data
            never mix.
        driver: The driver for MongoDB. `memory://` has its own.
        metrics: Count the waits for connections. None counts nothing.
        expiring: Whether old documents expire. Tests with a clock of their own turn it off.
        prepare: Whether to create collections and indexes, and to bind a new database to the mode.
            If not, nothing is changed on a MongoDB.
        tracer: Records the commits.

    Returns:
        The store. Close it at the end.

    Raises:
        StoreError: The database cannot be used. The message says what to do.
    """
    if url.startswith(MEMORY_URL):
        return await _connect_memory(livemode=livemode, expiring=expiring)
    parsed: Mapping[str, Any] | None = None
    clients = _Clients()
    classes = DRIVERS[driver]
    try:
        # For mongodb+srv:// it waits for the answer of the name server.
        parsed = await asyncio.to_thread(parse_uri, url, connect_timeout=_DNS_TIMEOUT_SECONDS)
        client = clients.open(classes.client, url, parsed, **_observed(metrics, "service"))
        if is_standalone(await client.admin.command("hello")):
            raise StoreError(standalone_message(parsed))
        name = parsed["database"] or DEFAULT_DATABASE
        if prepare:
            await _build_indexes(classes.client, url, parsed, name, expiring=expiring)
            await _bind_to_mode(client[name], livemode=livemode)
        else:
            _check_mode(await client[name].service.find_one(_MODE), livemode=livemode)
        plugin_client = clients.open(
            classes.plugin_client, url, parsed, **_observed(metrics, "plugins")
        )
    except (PyMongoError, ValueError, OSError) as error:
        await clients.close()
        raise StoreError(await explain(url, parsed, error)) from None
    except BaseException:
        await clients.close()
        raise
    database, plugin_database = client[name], plugin_client[name]
    return Store(
        client,
        database,
        GroupCommitter(
            Transactions(client, database, make_calls=classes.make_calls),
            Transactions(plugin_client, plugin_database, make_calls=classes.make_calls),
            tracer,
        ),
        StreamedChanges(client, database),
        in_memory=False,
        plugin_client=plugin_client,
        plugin_database=plugin_database,
    )


def _observed(metrics: Metrics | None, pool: Pool) -> dict[str, Any]:
    """Return the options of a client whose pool is observed."""
    return {} if metrics is None else {"event_listeners": [PoolListener(metrics, pool)]}


class _Clients:
    """The clients of one store, which share their options."""

    def __init__(self) -> None:
        self._opened: list[Any] = []

    def open(self, kind: Any, url: str, parsed: Mapping[str, Any], **options: Any) -> Any:
        """Open a client of this class. `options` override the options of the URL."""
        defaults = {
            name: value for name, value in _DEFAULTS.items() if name not in parsed["options"]
        }
        client = kind(
            url,
            tz_aware=True,
            w="majority",
            readPreference="primary",
            # Reads decide how a delivery is answered, so what was read must not be lost with the
            # primary.
            readConcernLevel="majority",
            appname="datalayer-stripe",
            **{**defaults, **options},
        )
        self._opened.append(client)
        return client

    async def close(self) -> None:
        for client in self._opened:
            await close(client)


async def _build_indexes(
    client_class: Any, url: str, parsed: Mapping[str, Any], name: str, *, expiring: bool
) -> None:
    """Create collections and indexes.

    The client has no socket timeout: building an index on a large collection takes minutes, and the
    server aborts the build if its client disconnects.
    """
    clients = _Clients()
    try:
        builder = clients.open(client_class, url, parsed, socketTimeoutMS=None)
        await create_collections(builder[name], expiring=expiring)
    finally:
        await clients.close()


async def _connect_memory(*, livemode: bool, expiring: bool) -> Store:
    try:
        from mongomock_motor import AsyncMongoMockClient  # noqa: PLC0415 (an optional extra)
    except ImportError:
        raise StoreError(
            f"{VARIABLE} is memory://, which needs an extra: "
            'pip install "datalayer-stripe[demo]". Or give the address of a MongoDB replica set.'
        ) from None
    logger.warning("The database is memory://: all data is LOST when this process ends")
    client: Any = AsyncMongoMockClient(tz_aware=True)
    database = client[DEFAULT_DATABASE]
    await create_collections(database, expiring=expiring)
    await _bind_to_mode(database, livemode=livemode)
    return Store(
        client,
        database,
        MemoryCommitter(database),
        Changes(),
        in_memory=True,
        plugin_client=client,
        plugin_database=database,
    )


async def _bind_to_mode(database: Any, *, livemode: bool) -> None:
    """Bind a new database to test or live mode.

    Raises:
        StoreError: The database is bound to the other mode.
    """
    found = await database.service.find_one_and_update(
        _MODE,
        {"$setOnInsert": {"livemode": livemode}},
        upsert=True,
        return_document=pymongo.ReturnDocument.AFTER,
    )
    _check_mode(found, livemode=livemode)


def _check_mode(found: Mapping[str, Any] | None, *, livemode: bool) -> None:
    """Raise StoreError if the database is bound to the other mode.

    Args:
        found: The document of the mode; None if the database is new.
        livemode: The mode of the secret key.
    """
    if found is not None and found["livemode"] is not livemode:
        found_mode, wanted_mode = ("live", "test") if found["livemode"] else ("test", "live")
        raise StoreError(
            f"{VARIABLE}: this database contains {found_mode} data, but "
            f"{variable('stripe_api_key')} is a {wanted_mode} key. Use another database name."
        )
