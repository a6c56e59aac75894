"""Results for other programs: JSON and CSV."""

import csv
import io
import json
import re
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any

import click

from ...printable import replace_unprintable
from .terminal import clean

# A spreadsheet takes a cell that begins with one of = + - @, or with their full-width forms, for a
# formula. A cell may also begin within a text, because the locale decides what separates cells:
# after a separator, a line feed or a quote. `clean` replaces tabs and carriage returns before.
# https://owasp.org/www-community/attacks/CSV_Injection
_FORMULA_START = re.compile(r"""((?:^|[;,\n])[\s"']*|["'])(?=[=+\-@\uff1d\uff0b\uff0d\uff20])""")

CsvValue = str | int | float | datetime | None | Sequence[str]
"""What a cell of a CSV file can hold. A sequence is joined by spaces."""


def print_json(value: Any) -> None:
    """Print a result as JSON, for other programs."""
    text = json.dumps(value, indent=2, ensure_ascii=False)
    # The line feeds between the fields stay. json.dumps() has escaped those of the texts.
    click.echo(replace_unprintable(text, lambda one: json.dumps(one)[1:-1], keep="\n"))


def print_csv(header: Sequence[str], rows: Iterable[Sequence[CsvValue]]) -> None:
    """Print a result as CSV (RFC 4180, in UTF-8), with a header.

    A part of a text that a spreadsheet would take for a formula gets an apostrophe in front of it.
    Unprintable characters other than line feeds are replaced.

    Args:
        header: The names of the columns.
        rows: The values of each row, as many as there are columns.
    """
    written = io.StringIO(newline="")
    writer = csv.writer(written, lineterminator="\r\n")
    writer.writerow(header)
    writer.writerows([_csv_cell(value) for value in row] for row in rows)
    click.echo(written.getvalue().encode(), nl=False)


def _csv_cell(value: CsvValue) -> str | int | float:
    match value:
        case None:
            return ""
        case bool():
            return "true" if value else "false"
        case int() | float():
            return value
        case datetime():
            return value.astimezone(UTC).isoformat().replace("+00:00", "Z")
        case str():
            return _FORMULA_START.sub(r"\1'", clean(value, keep="\n"))
    return _csv_cell(" ".join(value))
