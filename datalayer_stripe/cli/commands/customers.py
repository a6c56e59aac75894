"""The commands `customers import` and `customers sync`."""

from pathlib import Path

import click

from ..output.formats import format_options
from .lazy import runs

_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
_DRY_RUN = click.option("--dry-run", is_flag=True, help="Only report what would be done.")


@click.group()
def customers() -> None:
    """Give accounts their customers at Stripe."""


@customers.command("import")
@click.argument("file", type=_FILE, required=False)
@click.option("--from-metadata", "key", metavar="KEY", help="Read the accounts from this metadata.")
@_DRY_RUN
@format_options
@runs("customers:import_customers")
def import_customers() -> None:
    """Link existing customers of Stripe to accounts.

    FILE is a CSV file with the header account_uid,customer_id. With --from-metadata, each customer
    at Stripe that has the metadata KEY is linked to the account that it names. Customers are never
    found by an e-mail address, because anybody can enter one at Stripe.

    Each customer is looked up at Stripe first. Nothing is changed for an account or a customer
    that is already linked otherwise. You can interrupt and repeat the command: it does what is
    left.

    Exit code 1: something was not linked.
    """


@customers.command("sync")
@click.option(
    "--accounts",
    "file",
    type=_FILE,
    help="File with one account uid per line. [default: the accounts that the database knows]",
)
@_DRY_RUN
@format_options
@runs("customers:sync_customers")
def sync_customers() -> None:
    """Create a customer for each account that lacks one.

    A line of the file may also contain the e-mail address and the name of the new customer:
    account_uid,email,name. Without a file, the address is the one that the account last signed in
    with. You can interrupt and repeat the command: no account gets a second customer. Import
    existing customers before.

    Exit code 1: a customer was not created.
    """
