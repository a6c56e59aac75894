"""What commands print: tables, paragraphs, JSON and progress."""

import json
import os
import shutil
import sys
import textwrap
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from typing import Any

import click

_MAX_WIDTH = 100  # in characters, also on a wider terminal and in a file
_MIN_LAST_COLUMN_WIDTH = 20  # in characters, also if the other columns fill the table
_PROGRESS_BAR_WIDTH = 30  # in characters


def width() -> int:
    """Return the number of characters in a line: the terminal's or `COLUMNS`, up to 100.

    Without `COLUMNS`, a file and a pipe get 100, whatever terminal the command was started in.
    """
    if not sys.stdout.isatty() and not os.environ.get("COLUMNS"):
        return _MAX_WIDTH
    return min(_MAX_WIDTH, shutil.get_terminal_size((_MAX_WIDTH, 0)).columns)


def print_table(
    heads: Sequence[str],
    rows: Iterable[Sequence[str]],
    *,
    after_row: Callable[[], None] = lambda: None,
) -> None:
    """Print aligned columns. The last column is wrapped at the width of the terminal.

    Args:
        heads: The column heads.
        rows: The cells of each row, as many as there are heads.
        after_row: Called after each row, but not after the heads.
    """
    lines = [list(heads), *(list(row) for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(heads))]
    indent = sum(widths[:-1]) + 2 * len(widths[:-1])
    last_width = max(width() - indent, _MIN_LAST_COLUMN_WIDTH)
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
    """Print a paragraph below a table row, indented and wrapped at the width of the terminal."""
    print_paragraph(f"    {text}", indent=4)


def print_paragraph(text: str, *, indent: int = 0, err: bool = False) -> None:
    """Print a paragraph, wrapped at the width of the terminal.

    Args:
        text: The paragraph.
        indent: The number of spaces before each line but the first.
        err: Whether to print it on stderr.
    """
    click.echo(
        textwrap.fill(
            text,
            width(),
            subsequent_indent=" " * indent,
            break_long_words=False,
            break_on_hyphens=False,
        ),
        err=err,
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
