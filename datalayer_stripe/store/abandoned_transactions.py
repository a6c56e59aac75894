"""End transactions in which the database has not answered in time.

Such a transaction may still be open on the server. It locks its documents until the server ends it,
which takes up to a minute:
https://www.mongodb.com/docs/manual/reference/parameters/#param.transactionLifetimeLimitSeconds.
"""

import asyncio
from collections.abc import Awaitable, Callable
from contextvars import Context
from typing import Any

from pymongo.errors import InvalidOperation, OperationFailure, PyMongoError

_RETRY_SECONDS = 0.5

# A write that the server has not read yet may start the transaction after it was ended.
_REPEAT_SECONDS = (0.5, 2.0, 5.0)

# Each attempt waits for the driver's own time limits. Together they take longer than the minute
# after which the server ends the transaction itself.
_MAX_ATTEMPTS = 60


class AbandonedTransactions:
    """Ends transactions in the background.

    Args:
        client: The driver's client.
        sleep: Waits for a number of seconds.
    """

    def __init__(
        self, client: Any, *, sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    ) -> None:
        self._client = client
        self._sleep = sleep
        self._tasks: set[asyncio.Task[None]] = set()

    def end(self, mongo_session: Any) -> None:
        """End the transaction of a session as soon as the database answers again."""
        # In a context of its own: the time limit of the caller has passed.
        task = asyncio.create_task(self._end(mongo_session), context=Context())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _end(self, mongo_session: Any) -> None:
        await self._kill(mongo_session.session_id)
        for seconds in _REPEAT_SECONDS:
            await self._sleep(seconds)
            await self._kill(mongo_session.session_id)
        await mongo_session.end_session()

    async def _kill(self, session_id: Any) -> None:
        for _ in range(_MAX_ATTEMPTS):
            try:
                await self._client.admin.command("killSessions", [session_id])
            except (OperationFailure, InvalidOperation):
                return  # the server answers, or the client is closed
            except PyMongoError:
                await self._sleep(_RETRY_SECONDS)
            else:
                return
