"""The command `report`."""

import click

from ..output.formats import format_options
from .lazy import runs


@click.command(short_help="Show what was sold and refunded in the last days.")
@click.option("--days", type=click.IntRange(1, 366), default=7, help="The number of days.")
@format_options
@runs("report:report")
def report() -> None:
    """Show what was sold and refunded in the last days, and what waits now.

    SOLD and REFUNDED are credits; OTHER are the credits of corrections, debts, and what was spent.
    Days are in UTC. FAILED and REJECTED are the events of the day that are still open.
    """
