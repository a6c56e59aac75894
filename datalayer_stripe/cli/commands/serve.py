"""The command `serve`."""

from pathlib import Path

import click

from .lazy import runs
from .options import DEFAULT_HOST, DEFAULT_PORT, LOG_LEVEL, PORT


@click.command(short_help="Run the service with your Stripe account.")
@click.option("--host", default=DEFAULT_HOST, help="Address to listen on; 0.0.0.0 for all.")
@click.option(
    "--port", type=PORT, default=DEFAULT_PORT, help="Port to listen on; 0 for any free port."
)
@click.option(
    "--processes",
    type=click.IntRange(1),
    default=1,
    help="Number of processes that serve the port; at most one for each core.",
)
@click.option("--log-level", type=LOG_LEVEL, default="info", help="Log level.")
@click.option(
    "--log-config",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Logging configuration in TOML, such as conf/logging.toml.",
)
@runs("serve:serve")
def serve() -> None:
    """Run the service with your Stripe account.

    The settings are environment variables, described in the file conf/datalayer-stripe.env.example.
    Logs are written to stderr, as text on a terminal and as JSON lines otherwise. SIGTERM stops the
    service after the running requests. With --processes, a supervisor replaces processes that die.
    """
