"""The command `report`: what was sold and refunded in the last days, and what waits now."""

from collections.abc import Mapping, Sequence

from ..administration.views import Day, Overview, Sums
from ..currencies import amount_text
from .common import command_service, run
from .output.exports import print_json
from .output.formats import Format
from .output.tables import Column, print_rows_as_csv, print_table
from .output.terminal import pluralize, print_paragraph


def money(amounts: Mapping[str, int]) -> str:
    """Return amounts of several currencies for people; `-` if there are none."""
    return ", ".join(amount_text(amount, one) for one, amount in sorted(amounts.items())) or "-"


def _pairs(amounts: Mapping[str, int]) -> Sequence[str]:
    """Return amounts in minor units for a cell of CSV: `usd=2900`."""
    return [f"{currency}={amount}" for currency, amount in sorted(amounts.items())]


def _label(sums: Sums) -> str:
    return str(sums.day) if isinstance(sums, Day) else "total"


_COLUMNS: Sequence[Column[Sums]] = (
    Column("day", _label, head="DAY (UTC)"),
    Column("credits_sold", lambda one: one.credits_sold, head="SOLD"),
    Column("payments", lambda one: one.payments, head="PAYMENTS"),
    Column("credits_refunded", lambda one: one.credits_refunded, head="REFUNDED"),
    Column("refunds", lambda one: one.refunds),
    Column("credits_other", lambda one: one.credits_other, head="OTHER"),
    Column("failed", lambda one: one.failed, head="FAILED", style=lambda one: _red(one.failed)),
    Column(
        "rejected", lambda one: one.rejected, head="REJECTED", style=lambda one: _red(one.rejected)
    ),
    Column(
        "amounts", lambda one: _pairs(one.amounts), head="PAID", text=lambda one: money(one.amounts)
    ),
    Column("amounts_refunded", lambda one: _pairs(one.amounts_refunded)),
)


def _red(number: int) -> str:
    return "red" if number else ""


def report(days: int, output: Format) -> None:
    """Print the overview of the last days."""

    async def read() -> Overview:
        async with command_service() as service:
            return await service.administration.overviews.of_last(days)

    overview = run(read())
    match output:
        case Format.JSON:
            print_json(overview.model_dump(mode="json"))
        case Format.CSV:
            print_rows_as_csv(_COLUMNS, overview.days)
        case Format.TEXT:
            print_table(_COLUMNS, [*overview.days, overview.totals])
            _print_open(overview)


def _print_open(overview: Overview) -> None:
    """Print the money that went back, and what waits now."""
    if overview.totals.amounts_refunded:
        print_paragraph(f"Money that went back: {money(overview.totals.amounts_refunded)}.")
    waiting = overview.open
    events = f"{pluralize(waiting.failed, 'failed event')}, {waiting.rejected:,} rejected"
    line = f"Open now: {events}, {pluralize(waiting.jobs_waiting, 'deferred job')}."
    if overview.oldest_open_at is not None:
        line += f" The oldest event was received at {overview.oldest_open_at:%Y-%m-%d %H:%M} UTC."
    print_paragraph(line)
