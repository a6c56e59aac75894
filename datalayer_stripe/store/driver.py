"""The calls that Motor and PyMongo's asyncio client do not have in common.

All other methods that the store uses are the same in both. What one driver returns directly, the
other returns from a coroutine. So each function here awaits the driver's answer if it can be
awaited, and the rest of the store does not know which driver it uses. `memory://` has Motor's
methods. The calls of a transaction also take the objects of PyMongo that block, which Motor uses in
its threads.
"""

import inspect
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

# The connections of one client to each server. Deliveries are committed in groups, so few calls run
# at the same time. Each connection costs the server a thread and about 1 MB of memory.
MAX_CONNECTIONS = 32

Document = dict[str, Any]

DatabaseCalls = Callable[[Any, Any], Awaitable[None]]
"""Makes calls with a database and a session."""

MakeCalls = Callable[[DatabaseCalls, Any, Any], Awaitable[None]]
"""Makes calls as :func:`call_directly` does."""


async def start_session(client: Any) -> Any:
    """Return a new session, which is an asynchronous context manager."""
    return await _result(client.start_session())


async def start_transaction(mongo_session: Any, **options: Any) -> None:
    """Start a transaction in a session, without I/O: its first operation starts it on the server.

    Args:
        mongo_session: The session.
        options: The options of the transaction, such as `read_concern`.
    """
    await _result(mongo_session.start_transaction(**options))


async def commit_transaction(mongo_session: Any) -> None:
    """Commit the transaction of a session."""
    await _result(mongo_session.commit_transaction())


async def abort_transaction(mongo_session: Any) -> None:
    """Abort the transaction of a session. The driver hides errors: the server aborts it later."""
    await _result(mongo_session.abort_transaction())


async def run_command(database: Any, command: Document, mongo_session: Any) -> Document:
    """Run a command in the transaction of a session and return its reply."""
    reply: Document = await _result(database.command(command, session=mongo_session))
    return reply


async def call_directly(calls: DatabaseCalls, database: Any, mongo_session: Any) -> None:
    """Make several calls with the given database and session.

    Args:
        calls: Makes the calls. It awaits nothing but functions of this module.
        database: The driver's database.
        mongo_session: The session.
    """
    await calls(database, mongo_session)


async def aggregate(collection: Any, stages: Sequence[Document], **options: Any) -> list[Document]:
    """Return all documents of an aggregation.

    Args:
        collection: The collection.
        stages: The stages of the pipeline.
        options: Options of the driver's `aggregate`, such as `session`.
    """
    cursor = await _result(collection.aggregate(stages, **options))
    documents: list[Document] = await cursor.to_list(None)
    return documents


async def watch(database: Any, stages: Sequence[Document], **options: Any) -> Any:
    """Return a change stream, which is an asynchronous context manager and iterator.

    Args:
        database: The database to watch.
        stages: The stages of its pipeline.
        options: Options of the driver's `watch`.
    """
    return await _result(database.watch(stages, **options))


async def close(client: Any) -> None:
    """Close a client and its connections."""
    await _result(client.close())


async def _result(answer: Any) -> Any:
    return await answer if inspect.isawaitable(answer) else answer
