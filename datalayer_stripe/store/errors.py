"""Translate the errors of the driver into the service's own."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import wraps
from typing import ParamSpec, TypeVar

from bson.errors import BSONError
from pymongo.errors import PyMongoError

from ..errors import StoreUnavailable

# The driver limits the duration of each attempt. This limit also covers the wait for a free
# connection while the database hangs.
CALL_SECONDS = 8.0

ENCODING_ERRORS = (BSONError, OverflowError)
"""What the driver raises for a value that BSON cannot hold. None of these is a PyMongoError."""

P = ParamSpec("P")
R = TypeVar("R")


def translate_errors(method: Callable[P, Awaitable[R]]) -> Callable[P, Awaitable[R]]:
    """Decorate a method so that it raises StoreUnavailable on a driver's error or a timeout."""

    @wraps(method)
    async def wrapper(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            async with asyncio.timeout(CALL_SECONDS):
                return await method(*args, **kwargs)
        except (PyMongoError, TimeoutError) as error:
            raise StoreUnavailable from error

    return wrapper


def translate_stream_errors(
    method: Callable[P, AsyncIterator[R]],
) -> Callable[P, AsyncIterator[R]]:
    """Decorate an asynchronous generator so that it raises StoreUnavailable on a driver's error."""

    @wraps(method)
    async def wrapper(*args: P.args, **kwargs: P.kwargs) -> AsyncIterator[R]:
        try:
            async for item in method(*args, **kwargs):
                yield item
        except PyMongoError as error:
            raise StoreUnavailable from error

    return wrapper
