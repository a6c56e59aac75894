"""Run the test kit in an event loop of its own."""

import asyncio

from ..errors import KitError


def own_runner(caller: str) -> asyncio.Runner:
    """Return a runner with a new event loop.

    Args:
        caller: The name of the function or class that needs it, for the error message.

    Raises:
        KitError: An event loop runs in this thread already.
    """
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        # With a factory, the runner leaves the thread's current event loop unchanged.
        return asyncio.Runner(loop_factory=asyncio.new_event_loop)
    raise KitError(
        f"{caller} runs its own event loop and cannot be used while another one runs: "
        "write a plain `def test`, not `async def`."
    )
