"""Checking what was promised, and saying what came instead."""

import asyncio
import time
from collections.abc import Awaitable, Callable

_POLL_SECONDS = 0.02


class UnexpectedResult(Exception):
    """Something is not as it should be."""

    def __init__(self, expected: str, came: str) -> None:
        super().__init__(f"expected {expected}, came {came}")
        self.expected = expected
        self.came = came


def expect(expected: str, came: str) -> None:
    """Raises UnexpectedResult unless the two are the same."""
    if came != expected:
        raise UnexpectedResult(expected, came)


async def becomes(read: Callable[[], Awaitable[str]], expected: str, *, within: float) -> None:
    """Read until the expected comes. Raises UnexpectedResult after `within` seconds."""
    deadline = time.monotonic() + within
    while (came := await read()) != expected:
        if time.monotonic() > deadline:
            raise UnexpectedResult(f"{expected}, within {within:g} s", came)
        await asyncio.sleep(_POLL_SECONDS)
