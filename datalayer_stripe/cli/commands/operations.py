"""The commands `reconcile` and `audit`."""

import click

from ..output.formats import format_options
from .lazy import runs
from .options import Since


@click.command()
@click.option("--since", type=Since(), help="Start time: 36h, 30d, 2026-11-01.  [default: 30d]")
@click.option(
    "--dry-run", is_flag=True, help="Only report what is missing; exit code 3 if anything is."
)
@format_options
@runs("operations:reconcile")
def reconcile() -> None:
    """Process events that were never delivered.

    Compares Stripe's events, payments, refunds, disputes, subscriptions and customers with the
    database. The plugins process what is missing, as they process a delivery. You can run this
    command while the service runs, and repeat it. Stripe keeps events for 30 days; what is older
    is compared without them.

    Exit code 1: something could not be processed.
    """


@click.command(short_help="Compare the balances, the ledger and Stripe.")
@click.option("--account", help="Only this account.")
@click.option(
    "--since",
    type=Since(),
    help="Compare with Stripe only what was created since then: 36h, 30d, 2026-11-01.",
)
@click.option("--repair", is_flag=True, help="Show what --yes would repair.")
@click.option("--yes", is_flag=True, help="With --repair: repair it.")
@format_options
@runs("operations:audit")
def audit() -> None:
    """Compare the balances with the ledger, and the ledger with Stripe.

    Each balance must be the sum of its ledger rows. Each payment at Stripe must have a ledger row,
    and each row a payment. Each difference is explained, with the command that corrects it.

    Without --repair --yes the command stores only when it ran and how many differences it found,
    for `datalayer-stripe doctor`. With these options it sets balances to the
    sums of their ledger rows, and adds ledger rows until they agree with Stripe: the missing rows,
    or rows of the kind `correction`. It never changes or deletes a row. You can run it while the
    service runs, and repeat it.

    Exit code 3: a difference was found and not repaired.
    """
