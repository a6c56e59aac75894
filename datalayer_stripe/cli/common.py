"""What the commands share: settings, a service for one command, times, tables, and ends."""

import asyncio
import json
import re
import sys
import textwrap
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any, NoReturn, TypeVar

import click

from ..configuration import Configuration, read_configuration
from ..errors import DatalayerStripeError, StartError
from ..logs import configure_logging
from ..service import Service, open_service
from ..settings import variable
from ..store.connect import MEMORY_URL

T = TypeVar("T")

DIFFERENCES = 3
"""The exit code of a command that looked, changed nothing, and found differences."""

TABLE_WIDTH = 100
"""Characters in a line of a table."""
_MIN_WRAPPED = 20  # characters left for the last column, however wide the others are

_AGO = re.compile(r"(\d{1,6})([mhdw])")
_BAR = 30  # characters
_UNITS = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


class Since(click.ParamType[datetime]):
    """A moment: `36h`, `30d` or `2w` ago, a date, or a date and time of ISO 8601 (UTC)."""

    name = "since"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> datetime:
        if isinstance(value, datetime):
            return value
        try:
            if ago := _AGO.fullmatch(value):
                return datetime.now(UTC) - timedelta(**{_UNITS[ago[2]]: int(ago[1])})
            moment = datetime.fromisoformat(value)
        except (ValueError, OverflowError):
            self.fail(
                f"{value!r} is none of 36h, 30d, 2w, 2026-11-01, 2026-11-01T12:00", param, ctx
            )
        return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def run(work: Coroutine[Any, Any, T]) -> T:
    """Run to the end. What is in the way is one line for the operator, and exit code 2."""
    try:
        return asyncio.run(work)
    except DatalayerStripeError as error:
        fail(str(error))


def fail(message: str) -> NoReturn:
    click.echo(message, err=True)
    sys.exit(2)


def configuration(*, running_plugins: bool = True) -> Configuration:
    """Return what is set in the environment; print a line for each fault and exit with code 2.

    Without `running_plugins` the plugins' own settings are neither read nor needed.
    """
    try:
        return read_configuration(running_plugins=running_plugins)
    except StartError as error:
        fail(str(error))


@asynccontextmanager
async def command_service(*, running_plugins: bool = False) -> AsyncIterator[Service]:
    """A service for the length of one command, which says on stderr only what went wrong."""
    configure_logging(level="ERROR")
    configured = configuration(running_plugins=running_plugins)
    if configured.settings.stripe_mongodb_url.get_secret_value().startswith(MEMORY_URL):
        raise StartError(
            f"{variable('stripe_mongodb_url')} is memory://, which other processes cannot read. "
            "Set it to the database of the running service."
        )
    service = await open_service(
        configured.settings,
        registry=configured.registry,
        plugin_settings=configured.plugin_settings,
    )
    try:
        if running_plugins:
            # Its deferred work is left to `serve`.
            await service.lifespans.start()
        yield service
    finally:
        await service.close()


def table(
    heads: Sequence[str],
    rows: Iterable[Sequence[str]],
    *,
    after_row: Callable[[], None] = lambda: None,
) -> None:
    """Print aligned columns within TABLE_WIDTH; what is too long in the last one is wrapped.

    `after_row` is called below each row that is printed, and not below the heads.
    """
    lines = [list(heads), *(list(row) for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(heads))]
    indent = sum(widths[:-1]) + 2 * len(widths[:-1])
    room = max(TABLE_WIDTH - indent, _MIN_WRAPPED)
    for number, line in enumerate(lines):
        cells = (cell.ljust(width) for cell, width in zip(line[:-1], widths, strict=False))
        first, *more = textwrap.wrap(
            line[-1], room, break_long_words=False, break_on_hyphens=False
        ) or [""]
        click.echo("  ".join([*cells, first]).rstrip())
        for text in more:
            click.echo(" " * indent + text)
        if number:
            after_row()


def detail(text: str) -> None:
    """Print what belongs to the table's row above, indented and wrapped."""
    indent = "    "
    click.echo(
        textwrap.fill(
            text,
            TABLE_WIDTH,
            initial_indent=indent,
            subsequent_indent=indent,
            break_long_words=False,
            break_on_hyphens=False,
        )
    )


def print_json(shown: Any) -> None:
    """Print what a command has found for another program to read."""
    click.echo(json.dumps(shown, indent=2, ensure_ascii=False))


def counted(number: int, kind: str) -> str:
    """`1 event`, `1,200 events`."""
    return f"{number:,} {kind}{'' if number == 1 else 's'}"


class Progress:
    """A bar on a terminal that says how far a sweep has come; nothing elsewhere.

    Stripe says how much there is of nothing. But it lists the newest first, so that what was
    created last says how much of the time from now to `since` is done.
    """

    def __init__(self, since: datetime | None = None) -> None:
        self._on_terminal = sys.stderr.isatty()
        self._shown = False
        self._since = since
        self._begun = datetime.now(UTC)

    def __call__(self, kind: str, checked: int, created: int | None) -> None:
        if self._on_terminal:
            line = f"{self._bar(created)}{counted(checked, kind)} checked …"
            click.echo(f"\r\033[K{line}", nl=False, err=True)
            self._shown = True

    def _bar(self, created: int | None) -> str:
        if self._since is None or created is None:
            return ""
        whole = (self._begun - self._since).total_seconds()
        done = (self._begun.timestamp() - created) / whole
        full = round(_BAR * min(max(done, 0), 1))
        return f"[{'#' * full}{'-' * (_BAR - full)}] {100 * full // _BAR:>3} %  "

    def clear(self) -> None:
        """Make room for a line of another kind."""
        if self._shown:
            click.echo("\r\033[K", nl=False, err=True)
            self._shown = False
