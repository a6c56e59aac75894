"""The command `setup`."""

from pathlib import Path

import click

from ..output.formats import format_options
from .lazy import runs


@click.command(short_help="Set up a Stripe account, and write the environment file.")
@click.option(
    "--package",
    "packages",
    multiple=True,
    metavar="AMOUNT:CREDITS",
    help="A package of credits, such as 5.00:50. Repeat it for each package.",
)
@click.option("--plan", metavar="AMOUNT", help="The price of the monthly plan, such as 29.00.")
@click.option("--currency", default="usd", help="The currency of the amounts.")
@click.option(
    "--url",
    metavar="URL",
    help="The public address of the service, https://…, to which Stripe sends events.",
)
@click.option(
    "--thin", is_flag=True, help="With --url: let Stripe send thin events, too, to the same URL."
)
@click.option(
    "--env-file",
    type=click.Path(dir_okay=False, path_type=Path),
    default="datalayer-stripe.env",
    help="The environment file to write.",
)
@click.option("--dry-run", is_flag=True, help="Only show the plan; exit code 3 if there is any.")
@click.option("--yes", is_flag=True, help="Do not ask in test mode.")
@click.option(
    "--confirm",
    type=click.Choice(["live"]),
    help="Do not ask for this word in live mode.",
)
@format_options
@runs("setup:setup")
def setup() -> None:
    """Set up a Stripe account, and write the environment file of `serve`.

    Creates what the service needs, in the mode of the key: the products and prices, the customer
    portal and the webhook endpoint. Shows the plan first and asks. What exists is found again, and
    only what differs is changed, so that you can repeat the command, also after an interruption.

    The secret key comes from DATALAYER_STRIPE_API_KEY, from the file, or from a prompt. Without
    --package or --plan, the prices stay as they are. --json and --csv print the plan of --dry-run.

    Exit code 1: something has to be done by hand.
    """
