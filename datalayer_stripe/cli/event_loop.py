"""Choose the event loop of `serve`: uvloop, where the extra `fast` has installed it."""

import asyncio
import sys
from collections.abc import Callable

LoopFactory = Callable[[], asyncio.AbstractEventLoop]


def fastest_loop_factory() -> LoopFactory | None:
    """Return what creates a loop of uvloop, or None for asyncio's own if it is not installed.

    https://github.com/MagicStack/uvloop
    """
    if sys.platform == "win32":  # uvloop does not exist there
        return None
    try:
        import uvloop  # noqa: PLC0415 (it is optional)
    except ImportError:
        return None
    return uvloop.new_event_loop


def fastest_loop_name() -> str:
    """Return the name of the library of that loop: `uvloop` or `asyncio`."""
    return "uvloop" if fastest_loop_factory() else "asyncio"
