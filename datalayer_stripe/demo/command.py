"""The body of `datalayer-stripe demo`."""

import asyncio
import logging
import webbrowser
from contextlib import suppress

import click

from ..app import shutdown_signal
from ..logs import configure_logging
from .environment import open_environment
from .guide import guide
from .play import play
from .watch import watch


async def show_demo(
    *,
    port: int,
    sandbox_port: int,
    any_sandbox_port: bool,
    playing: bool,
    opening: bool,
    log_level: str,
) -> bool:
    """Run the demo until a signal, or play the story to its end.

    Args:
        port: of the service; 0 is any free one.
        sandbox_port: of the local Stripe; 0 is any free one.
        any_sandbox_port: whether any free port will do where that one is taken.
        playing: whether to play the story.
        opening: whether to open the checkout page in the person's own browser.
        log_level: such as `WARNING`.

    Returns:
        Whether all was as promised.

    Raises:
        StartError: it cannot start.
    """
    _configure_logging(log_level)
    async with open_environment(
        port=port, sandbox_port=sandbox_port, any_sandbox_port=any_sandbox_port
    ) as stage:
        if playing:
            click.echo(
                f"Playing against {stage.url}, whose Stripe is {stage.sandbox.url}; "
                "all of it is forgotten at the end.\n"
            )
            return await play(stage, click.echo)
        # Who reads how the demo is ended may end it from then on.
        with shutdown_signal() as signalled:
            click.echo(guide(stage) + "\n")
            if opening and not await asyncio.to_thread(webbrowser.open, f"{stage.url}/"):
                click.echo(
                    "No browser was found to open the page with: follow the address above.\n"
                )
            watching = asyncio.create_task(watch(stage, click.echo))
            try:
                await signalled.wait()
            finally:
                watching.cancel()
                with suppress(asyncio.CancelledError):
                    await watching
        click.echo("\nThe demo has ended, and has forgotten everything.")
        return True


def _configure_logging(level: str) -> None:
    """Log as text: the reader is a person, whatever stderr is."""
    configure_logging(level=level, json=False)
    # A logger of its own level passes the root logger's by, and not its handlers'.
    for handler in logging.getLogger().handlers:
        handler.setLevel(level)
    # That memory:// forgets is what the demo says first, in its own words.
    logging.getLogger("datalayer_stripe.store.connect").setLevel(logging.ERROR)
