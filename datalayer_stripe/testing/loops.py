"""An event loop of the kit's own, beside whatever else the thread has."""

import asyncio

from ..errors import KitError


def own_runner(who: str) -> asyncio.Runner:
    """A runner with a new event loop. Raises KitError where one runs in this thread."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        # A given factory leaves the thread's current event loop as it is.
        return asyncio.Runner(loop_factory=asyncio.new_event_loop)
    raise KitError(
        f"{who} has an event loop of its own, and one runs here: write a plain `def test`, "
        "not `async def`."
    )
