"""Helpers for all commands: settings, a service for one command, times, tables and exit codes."""

import asyncio
import json
import os
import re
import sys
import textwrap
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any, NoReturn, TypeVar

import click

from ..configuration import Configuration, read_configuration
from ..errors import (
    DatalayerStripeError,
    SettingsError,
    StartError,
    StoreUnavailable,
    StripeKeyRefused,
    StripePermissionMissing,
    StripeUnavailable,
)
from ..logs import configure_logging
from ..metrics import Metrics
from ..service import Service, open_service
from ..settings import Settings, variable
from ..store.connect import MEMORY_URL
from ..stripe_api.client import StripeClient
from ..stripe_api.permissions import permission_label
from .event_loop import LoopFactory

T = TypeVar("T")

FAILURE_EXIT_CODE = 2
"""The exit code of a command that ended with one of our errors."""

DIFFERENCES_EXIT_CODE = 3
"""The exit code of a command that found differences and did not correct them."""

_SETTING = re.compile("DATALAYER_STRIPE_")

TABLE_WIDTH = 100
"""The maximum width of a table, in characters."""
_MIN_LAST_COLUMN_WIDTH = 20  # in characters, also if the other columns fill the table

_RELATIVE_TIME = re.compile(r"(\d{1,6})([mhdw])")
_UNITS = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
_PROGRESS_BAR_WIDTH = 30  # in characters


class Since(click.ParamType[datetime]):
    """Option type for a point in time.

    The value is a length of time before now (`36h`, `30d`, `2w`), a date, or an ISO 8601 date and
    time. Without a time zone it is in UTC.
    """

    name = "since"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> datetime:
        """Return the value as a datetime with a time zone."""
        if isinstance(value, datetime):
            return value
        try:
            if relative := _RELATIVE_TIME.fullmatch(value):
                length = timedelta(**{_UNITS[relative[2]]: int(relative[1])})
                return datetime.now(UTC) - length
            moment = datetime.fromisoformat(value)
        except (ValueError, OverflowError):
            self.fail(
                f"{value!r} is not a time. Use a form such as 36h, 30d, 2w, 2026-11-01 or "
                "2026-11-01T12:00.",
                param,
                ctx,
            )
        return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def run(work: Coroutine[Any, Any, T], *, loop_factory: LoopFactory | None = None) -> T:
    """Run a coroutine to its end, and return its result.

    If it raises one of our errors, print the message on stderr and exit with code 2.

    Args:
        work: The coroutine.
        loop_factory: Creates the event loop. The default is asyncio's.
    """
    try:
        with asyncio.Runner(loop_factory=loop_factory) as runner:
            return runner.run(work)
    except DatalayerStripeError as error:
        fail(explain(error))


def explain(error: DatalayerStripeError) -> str:
    """Return the message of an error for the person who has run the command."""
    match error:
        case StripePermissionMissing(permission=str(permission)):
            return (
                f"The restricted key lacks the permission {permission} "
                f"({permission_label(permission)}). Add it in Stripe's dashboard, Developers → "
                "API keys → the key → Edit key. Then run the command again."
            )
        case StripeKeyRefused():
            return (
                f"Stripe refuses the key: check {variable('stripe_api_key')} and its permissions, "
                "in Stripe's dashboard, Developers → API keys."
            )
        case StripeUnavailable():
            # Its own message is for the people who buy.
            return (
                "Stripe does not answer: see the log lines above and https://status.stripe.com. "
                "Then run the command again."
            )
        case StoreUnavailable():
            return (
                f"The database does not answer: check {variable('stripe_mongodb_url')} and the "
                "state of the replica set. Then run the command again."
            )
    return str(error)


def fail(message: str) -> NoReturn:
    """Print a message on stderr and exit with code 2."""
    click.echo(message, err=True)
    sys.exit(FAILURE_EXIT_CODE)


def load_configuration(*, running_plugins: bool = True) -> Configuration:
    """Read the configuration from the environment.

    If it is not valid, print a line for each problem on stderr and exit with code 2.

    Args:
        running_plugins: Whether plugins will run. If not, their own settings are not read.
    """
    try:
        return read_configuration(running_plugins=running_plugins)
    except StartError as error:
        fail_to_start(error)


def fail_to_start(error: StartError) -> NoReturn:
    """Print why a configuration is not valid, and exit with code 2.

    If the environment has no setting at all, say where `setup` has written them.

    Args:
        error: The error.
    """
    message = str(error)
    if isinstance(error, SettingsError) and not any(map(_SETTING.match, os.environ)):
        message += (
            "\n\nThe environment has no settings. If `datalayer-stripe setup` has written them to "
            "a file, read it first: set -a; . ./datalayer-stripe.env; set +a"
        )
    fail(message)


@asynccontextmanager
async def command_service(*, running_plugins: bool = False) -> AsyncIterator[Service]:
    """Open a service for the duration of one command. It logs errors only.

    Args:
        running_plugins: Whether the command runs plugins.

    Raises:
        StartError: The service cannot start, or its database is in the memory of a process.
    """
    configure_logging(level="ERROR")
    configuration = load_configuration(running_plugins=running_plugins)
    if configuration.settings.stripe_mongodb_url.get_secret_value().startswith(MEMORY_URL):
        raise StartError(
            f"{variable('stripe_mongodb_url')} is memory://, which other processes cannot read. "
            "Set it to the database of the running service."
        )
    service = await open_service(
        configuration.settings,
        registry=configuration.registry,
        plugin_settings=configuration.plugin_settings,
    )
    try:
        if running_plugins:
            # Start the plugins but not the worker: `serve` runs the deferred jobs.
            await service.lifespans.start()
        yield service
    finally:
        await service.close()


@asynccontextmanager
async def command_client(settings: Settings) -> AsyncIterator[StripeClient]:
    """Open a client of Stripe's API for the duration of one command.

    Args:
        settings: The settings.
    """
    client = StripeClient(
        settings.stripe_api_key.get_secret_value(),
        metrics=Metrics(),
        api_base=settings.stripe_api_base,
    )
    try:
        yield client
    finally:
        await client.close()


def print_table(
    heads: Sequence[str],
    rows: Iterable[Sequence[str]],
    *,
    after_row: Callable[[], None] = lambda: None,
) -> None:
    """Print aligned columns. The last column is wrapped at TABLE_WIDTH.

    Args:
        heads: The column heads.
        rows: The cells of each row, as many as there are heads.
        after_row: Called after each row, but not after the heads.
    """
    lines = [list(heads), *(list(row) for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(heads))]
    indent = sum(widths[:-1]) + 2 * len(widths[:-1])
    last_width = max(TABLE_WIDTH - indent, _MIN_LAST_COLUMN_WIDTH)
    for number, line in enumerate(lines):
        cells = (cell.ljust(width) for cell, width in zip(line[:-1], widths, strict=False))
        first, *more = textwrap.wrap(
            line[-1], last_width, break_long_words=False, break_on_hyphens=False
        ) or [""]
        click.echo("  ".join([*cells, first]).rstrip())
        for text in more:
            click.echo(" " * indent + text)
        if number:
            after_row()


def print_detail(text: str) -> None:
    """Print a paragraph below a table row, indented and wrapped at TABLE_WIDTH."""
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


def print_json(value: Any) -> None:
    """Print a result as JSON, for other programs."""
    click.echo(json.dumps(value, indent=2, ensure_ascii=False))


def pluralize(number: int, noun: str) -> str:
    """Return a number with its noun: `1 event`, `1,200 events`."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def progress_bar(done: float) -> str:
    """Return a bar, such as `[###---]  50 %  `.

    Args:
        done: The part that is done, from 0 to 1.
    """
    filled = round(_PROGRESS_BAR_WIDTH * min(max(done, 0), 1))
    bar = "#" * filled + "-" * (_PROGRESS_BAR_WIDTH - filled)
    return f"[{bar}] {100 * filled // _PROGRESS_BAR_WIDTH:>3} %  "


class ProgressLine:
    """Line on stderr that is overwritten. It prints nothing if stderr is not a terminal."""

    def __init__(self) -> None:
        self._on_terminal = sys.stderr.isatty()
        self._is_shown = False

    def show(self, text: str) -> None:
        """Print a text over the previous one."""
        if self._on_terminal:
            click.echo(f"\r\033[K{text}", nl=False, err=True)
            self._is_shown = True

    def clear(self) -> None:
        """Erase the line, so that another line can be printed."""
        if self._is_shown:
            click.echo("\r\033[K", nl=False, err=True)
            self._is_shown = False


class Progress(ProgressLine):
    """Progress line of a run over Stripe's lists.

    Stripe's lists have no total count. They start with the newest object, so the bar shows the
    part of the time from now back to `since` that is done.

    Args:
        since: The time of the oldest object that will be checked. None shows no bar.
    """

    def __init__(self, since: datetime | None = None) -> None:
        super().__init__()
        self._since = since
        self._started_at = datetime.now(UTC)

    def __call__(self, kind: str, checked: int, created: int | None) -> None:
        """Print the progress, over the previous line.

        Args:
            kind: The kind of object, in the singular.
            checked: How many of this kind have been checked.
            created: The creation time of the last one, in epoch seconds. 0 at the end.
        """
        self.show(f"{self._bar(created)}{pluralize(checked, kind)} checked …")

    def _bar(self, created: int | None) -> str:
        if self._since is None or created is None:
            return ""
        total = (self._started_at - self._since).total_seconds()
        return progress_bar((self._started_at.timestamp() - created) / total)
