"""The command `doctor`."""

from pathlib import Path

import click

from ..output.formats import format_options
from .lazy import runs
from .options import WebhookUrl


@click.command(short_help="Check the settings, Stripe, the database and the events.")
@click.option(
    "--url",
    type=WebhookUrl(),
    help="Public URL of the service or of its webhook, such as https://pay.example.com.",
)
@click.option(
    "--env-file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Environment file. Its values replace those of the environment.",
)
@format_options
@runs("doctor:doctor")
def doctor() -> None:
    """Check that the service is set up correctly, and say how to fix what is not.

    Prints a line for each check: the settings, the plugins, the database, the keys and what they
    may do, the products and prices, the customer portal, the webhook endpoint and its deliveries,
    and the events. A check that cannot run says why. Nothing is changed at Stripe. The command
    needs no running service; it can run while `serve` does.

    Exit code 0: all is well. 1: there are warnings. 2: there are errors.
    """
