"""The options `--json` and `--csv`."""

import functools
from collections.abc import Callable
from enum import Enum
from typing import Any

import click


class Format(Enum):
    """The format that the user has chosen."""

    TEXT = "text"
    JSON = "json"
    CSV = "csv"


def format_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options `--json` and `--csv` to a command, which gets `output`, a :class:`Format`."""

    @click.option("--json", "as_json", is_flag=True, help="Print JSON.")
    @click.option("--csv", "as_csv", is_flag=True, help="Print CSV, for spreadsheets.")
    @functools.wraps(command)
    def with_format(*args: Any, as_json: bool, as_csv: bool, **options: Any) -> Any:
        if as_json and as_csv:
            raise click.UsageError("Use --json or --csv, not both.")
        output = Format.JSON if as_json else Format.CSV if as_csv else Format.TEXT
        return command(*args, output=output, **options)

    return with_format
