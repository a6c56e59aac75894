"""Results for other programs: JSON and CSV."""

import csv
import io
import json
import re
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any

import click

from .terminal import clean

# json.dumps() escapes the control characters of ASCII below 32 only.
_UNESCAPED_CONTROL_CHARACTER = re.compile(r"[\x7f-\x9f]")

# A spreadsheet takes a cell that begins with one of these for a formula. The last four are the
# full-width forms of the first four. `clean` replaces tabs and carriage returns before.
# https://owasp.org/www-community/attacks/CSV_Injection
_FORMULA_STARTS = tuple("=+-@\n\uff1d\uff0b\uff0d\uff20")

CsvValue = str | int | float | datetime | None | Sequence[str]
"""What a cell of a CSV file can hold. A sequence is joined by spaces."""


def print_json(value: Any) -> None:
    """Print a result as JSON, for other programs."""
    text = json.dumps(value, indent=2, ensure_ascii=False)
    click.echo(_UNESCAPED_CONTROL_CHARACTER.sub(lambda found: f"\\u{ord(found[0]):04x}", text))


def print_csv(header: Sequence[str], rows: Iterable[Sequence[CsvValue]]) -> None:
    """Print a result as CSV (RFC 4180, in UTF-8), with a header.

    A text that a spreadsheet would take for a formula gets an apostrophe in front of it. Control
    characters other than line feeds are replaced.

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
            text = clean(value)
            return f"'{text}" if text.startswith(_FORMULA_STARTS) else text
    return _csv_cell(" ".join(value))
