"""The body of `datalayer-stripe demo`."""

import asyncio
import logging
import webbrowser
from contextlib import suppress

from ..app import shutdown_signal
from ..logs import configure_logging
from .deliveries import Echo, print_deliveries
from .environment import open_environment
from .guide import guide
from .play import play


async def run_demo(
    *,
    host: str,
    port: int,
    sandbox_port: int,
    any_sandbox_port: bool,
    play_story: bool,
    open_page: bool,
    log_level: str,
    echo: Echo,
) -> bool:
    """Run the demo until a shutdown signal, or play the story.

    Args:
        host: The address that the service and the local Stripe listen on.
        port: The port of the service. 0 means any free port.
        sandbox_port: The port of the local Stripe. 0 means any free port.
        any_sandbox_port: Whether to use any free port if `sandbox_port` is taken.
        play_story: Whether to play the story and stop after its last step.
        open_page: Whether to open the checkout page in the default browser.
        log_level: The level to log at, such as `WARNING`.
        echo: Called with each line to print.

    Returns:
        False if a step of the story failed, True otherwise.

    Raises:
        StartError: The demo cannot start.
    """
    _configure_logging(log_level)
    async with open_environment(
        host=host, port=port, sandbox_port=sandbox_port, any_sandbox_port=any_sandbox_port
    ) as environment:
        if play_story:
            echo(f"Service: {environment.url}  Stripe: {environment.sandbox.url}")
            echo("All data is kept in memory and deleted at the end.")
            echo("")
            return await play(environment, echo)
        # Install the signal handlers before printing how to stop the demo.
        with shutdown_signal() as signalled:
            echo(guide(environment).append("\n"))
            if open_page and not await asyncio.to_thread(webbrowser.open, f"{environment.url}/"):
                echo("Could not open a browser. Open the address above yourself.")
                echo("")
            printing = asyncio.create_task(print_deliveries(environment, echo))
            try:
                await signalled.wait()
            finally:
                printing.cancel()
                with suppress(asyncio.CancelledError):
                    await printing
        echo("")
        echo("The demo has stopped, and its data is deleted.")
        return True


def _configure_logging(level: str) -> None:
    """Log as text even if stderr is not a terminal, because a person reads the log."""
    configure_logging(level=level, json=False)
    # Set the level of the handlers too: a logger with a level of its own ignores the root logger's
    # level, but not that of the root logger's handlers.
    for handler in logging.getLogger().handlers:
        handler.setLevel(level)
    # The guide already says that memory:// does not keep data.
    logging.getLogger("datalayer_stripe.store.connect").setLevel(logging.ERROR)
