"""The commands `accounts list` and `accounts show`."""

import click

from ..output.formats import format_options
from .lazy import runs

MAX_ROWS = 1000
"""Maximum number of rows of each list of `accounts show`."""


@click.group()
def accounts() -> None:
    """Find accounts, and show all that is known of one."""


@accounts.command("list")
@click.option(
    "--query",
    default="",
    metavar="TEXT",
    show_default=False,
    help="The beginning of a uid or a handle, or a customer's id, cus_….",
)
@click.option(
    "--limit", type=click.IntRange(min=1), default=50, help="List at most this many accounts."
)
@format_options
@runs("accounts:list_accounts")
def list_accounts() -> None:
    """List accounts with their balances.

    Accounts that are found by their uid come first.
    """


@accounts.command("show", short_help="Show the balance, payments, ledger and events of an account.")
@click.argument("account_uid", metavar="ACCOUNT")
@click.option(
    "--limit",
    type=click.IntRange(1, MAX_ROWS),
    default=20,
    help="Show at most this many payments, ledger rows and events, the newest ones.",
)
@format_options
@runs("accounts:show_account")
def show_account() -> None:
    """Show all that is known of ACCOUNT.

    Prints its balance, its customer, and its subscriptions, payments, ledger rows and events. With
    --csv only the ledger is printed. The output contains the e-mail address of the owner.
    """
