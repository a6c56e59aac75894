"""Compare results with what the story expects, at once or until a deadline."""

import asyncio
import time
from collections.abc import Awaitable, Callable

from ..errors import UnexpectedResult

_POLL_INTERVAL = 0.02  # in seconds


def expect(expected: str, actual: str) -> None:
    """Raise UnexpectedResult unless both texts are equal.

    Args:
        expected: What the result should be.
        actual: What it is.
    """
    if actual != expected:
        raise UnexpectedResult(expected, actual)


async def expect_within(seconds: float, expected: str, read: Callable[[], Awaitable[str]]) -> None:
    """Poll until `read` returns the expected text.

    Args:
        seconds: How long to poll.
        expected: What the result should become.
        read: Returns the current result.

    Raises:
        UnexpectedResult: The result was another one for all this time.
    """
    deadline = time.monotonic() + seconds
    while (actual := await read()) != expected:
        if time.monotonic() > deadline:
            raise UnexpectedResult(f"{expected}, within {seconds:g} s", actual)
        await asyncio.sleep(_POLL_INTERVAL)
