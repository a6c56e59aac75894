"""The driver's errors as ours, in one place."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import wraps
from typing import ParamSpec, TypeVar

from bson.errors import BSONError
from pymongo.errors import PyMongoError

from ..errors import StoreUnavailable

# The driver has bounds of its own for each attempt; this one is for what waits for a free
# connection while the database hangs.
CALL_SECONDS = 8.0

ENCODING_ERRORS = (BSONError, OverflowError)
"""What the driver raises for a value that BSON cannot hold; none of these is a PyMongoError."""

P = ParamSpec("P")
R = TypeVar("R")


def translated(method: Callable[P, Awaitable[R]]) -> Callable[P, Awaitable[R]]:
    """Let `method` raise StoreUnavailable where the driver raises an error of its own, or hangs."""

    @wraps(method)
    async def wrapper(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            async with asyncio.timeout(CALL_SECONDS):
                return await method(*args, **kwargs)
        except (PyMongoError, TimeoutError) as error:
            raise StoreUnavailable from error

    return wrapper


def translated_stream(
    method: Callable[P, AsyncIterator[R]],
) -> Callable[P, AsyncIterator[R]]:
    """The same for a method that yields."""

    @wraps(method)
    async def wrapper(*args: P.args, **kwargs: P.kwargs) -> AsyncIterator[R]:
        try:
            async for item in method(*args, **kwargs):
                yield item
        except PyMongoError as error:
            raise StoreUnavailable from error

    return wrapper
