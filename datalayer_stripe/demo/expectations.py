"""Checking what was promised, and saying what came instead."""

import asyncio
import time
from collections.abc import Awaitable, Callable

_PAUSE_SECONDS = 0.02


class NotAsPromised(Exception):
    """Something is not as it should be."""

    def __init__(self, expected: str, came: str) -> None:
        super().__init__(f"expected {expected}, came {came}")
        self.expected = expected
        self.came = came


def promise(expected: str, came: str) -> None:
    """Raises NotAsPromised unless the two are the same."""
    if came != expected:
        raise NotAsPromised(expected, came)


async def becomes(read: Callable[[], Awaitable[str]], expected: str, *, within: float) -> None:
    """Read until the expected comes. Raises NotAsPromised after `within` seconds."""
    deadline = time.monotonic() + within
    while (came := await read()) != expected:
        if time.monotonic() > deadline:
            raise NotAsPromised(f"{expected}, within {within:g} s", came)
        await asyncio.sleep(_PAUSE_SECONDS)
