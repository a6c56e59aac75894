"""The command `demo`."""

import click

from .lazy import runs
from .options import DEFAULT_HOST, DEFAULT_PORT, DEFAULT_SANDBOX_PORT, LOG_LEVEL, PORT


@click.command(short_help="Try the service without a Stripe account or a database.")
@click.option(
    "--host",
    default=DEFAULT_HOST,
    help="Address to listen on; 0.0.0.0 for all, as in a container. Everybody who reaches it is "
    "signed in.",
)
@click.option(
    "--port",
    type=PORT,
    metavar="PORT",
    help=f"Port of the service. Default: {DEFAULT_PORT}; with --play, any free port.",
)
@click.option(
    "--sandbox-port",
    type=PORT,
    metavar="PORT",
    help=f"Port of the local Stripe. Default: {DEFAULT_SANDBOX_PORT} if it is free, else any free "
    "port; with --play, any free port.",
)
@click.option("--open", "opening", is_flag=True, help="Open the checkout page in a browser.")
@click.option("--play", is_flag=True, help="Run the demo's steps, check each one, and exit.")
@click.option("--log-level", type=LOG_LEVEL, default="warning", help="Log level.")
@runs("demo:demo")
def demo() -> None:
    """Try the service without a Stripe account, a database or settings.

    Runs the service and a local Stripe here. Prints the addresses of the checkout page and of the
    local Stripe's pages, and shell commands that buy credits. All data is in memory, and IS DELETED
    when the demo stops. --play runs all steps of the demo itself; exit code 1 means that a step
    failed.
    """
