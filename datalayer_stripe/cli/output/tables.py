"""Tables: columns that are declared once, and printed as aligned text, JSON or CSV."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Generic, TypeVar

from rich.cells import cell_len
from rich.table import Table
from rich.text import Text

from .exports import CsvValue, print_csv, print_json
from .formats import Format
from .terminal import open_console, print_line, print_paragraph, styled, width, wrap

Row = TypeVar("Row")

_GAP = 2  # the number of spaces between two columns
_BELOW = "    "  # before a line that belongs to the row above
_MIN_WRAPPED_WIDTH = 20  # in characters: a narrower column of text would be hard to read
_MAX_TABLE_WIDTH = 100_000  # in characters, more than any cell has


@dataclass(frozen=True)
class Column(Generic[Row]):
    """A column of a table.

    Attributes:
        name: Its name for programs: in the header of CSV, and the key in JSON.
        value: Returns the value of a row.
        head: Its head for people. None leaves it out of the table.
        text: Returns the cell for people. The default is the value, `-` for None.
        style: Returns the style of the cell for people, such as `red`.
    """

    name: str
    value: Callable[[Row], CsvValue]
    head: str | None = None
    text: Callable[[Row], str] | None = None
    style: Callable[[Row], str] | None = None

    def cell(self, row: Row) -> Text:
        """Return the cell for people."""
        if self.text is not None:
            text = self.text(row)
        else:
            value = self.value(row)
            text = "-" if value is None else str(value)
        return styled(text.replace("\n", " "), self.style(row) if self.style else "")


class TablePrinter:
    """Print rows one by one, below their heads. The last column is wrapped, no cell is cut.

    A cell of the last column that has no room beside the others is printed below them.

    Args:
        heads: The column heads.
        rows: The rows, or as much of them as is known, to find the width of each column.
    """

    def __init__(self, heads: Sequence[str], rows: Iterable[Sequence[Text]]) -> None:
        self._heads = [styled(head, "bold") for head in heads]
        columns = zip(self._heads, *rows, strict=True)
        *self._widths, _ = [max(cell.cell_len for cell in column) for column in columns]
        self._last_width: int = width() - sum(self._widths) - _GAP * len(self._widths)

    def _fits_beside(self, cell: Text) -> bool:
        """Return whether a cell of the last column has room beside the others."""
        if cell.cell_len <= self._last_width:
            return True
        longest_word: int = max(map(cell_len, cell.plain.split()), default=0)
        return max(longest_word, _MIN_WRAPPED_WIDTH) <= self._last_width

    def print_heads(self) -> None:
        """Print the column heads."""
        self.print_row(self._heads)

    def print_row(self, cells: Sequence[Text]) -> None:
        """Print a row."""
        *first, last = cells
        table = Table.grid(padding=(0, _GAP, 0, 0))
        for column_width in self._widths:
            table.add_column(min_width=column_width, no_wrap=True)
        is_beside = self._fits_beside(last)
        if is_beside:
            wrapped = wrap(last.plain, self._last_width, str(last.style))
            table.add_column(no_wrap=True)
            first.append(Text("\n").join(wrapped))
        table.add_row(*first)
        console = open_console()
        # Rich cuts what is wider than its console, so the table is rendered for a wide one.
        options = console.options.update(width=_MAX_TABLE_WIDTH)
        for segments in console.render_lines(table, options, pad=False):
            line = Text.assemble(*((one.text, one.style or "") for one in segments))
            line.rstrip()
            print_line(line)
        if not is_beside and last.plain.strip():
            print_paragraph(last.plain, prefix=_BELOW, style=str(last.style))


def print_table(
    columns: Sequence[Column[Row]],
    rows: Iterable[Row],
    *,
    detail: Callable[[Row], str] | None = None,
) -> None:
    """Print the columns that have a head. The last one is wrapped, or printed below the others.

    Args:
        columns: The columns.
        rows: The rows.
        detail: Returns a paragraph that is printed below a row.
    """
    listed = list(rows)
    shown = [column for column in columns if column.head is not None]
    cells = [[column.cell(row) for column in shown] for row in listed]
    table = TablePrinter([column.head or "" for column in shown], cells)
    table.print_heads()
    for row, line in zip(listed, cells, strict=True):
        table.print_row(line)
        if detail is not None:
            print_detail(detail(row))


def print_detail(text: str) -> None:
    """Print a paragraph below a table row, indented and wrapped at the width of the terminal."""
    print_paragraph(text, prefix=_BELOW, style="dim")


def print_rows(
    output: Format,
    columns: Sequence[Column[Row]],
    rows: Iterable[Row],
    *,
    detail: Callable[[Row], str] | None = None,
    empty: str = "",
    json: Any = None,
) -> None:
    """Print rows in the format that the user has chosen.

    Args:
        output: The format.
        columns: The columns.
        rows: The rows.
        detail: Returns a paragraph that the table has below a row.
        empty: What is printed in place of a table without rows.
        json: The value of `--json`. The default is a list of the rows, each with all columns.
    """
    listed = list(rows)
    match output:
        case Format.JSON:
            print_json(as_records(columns, listed) if json is None else json)
        case Format.CSV:
            print_rows_as_csv(columns, listed)
        case Format.TEXT if not listed and empty:
            print_line(empty)
        case Format.TEXT:
            print_table(columns, listed, detail=detail)


def print_rows_as_csv(columns: Sequence[Column[Row]], rows: Iterable[Row]) -> None:
    """Print all columns of rows as CSV."""
    print_csv(
        [column.name for column in columns],
        [[column.value(row) for column in columns] for row in rows],
    )


def as_records(columns: Sequence[Column[Row]], rows: Iterable[Row]) -> list[dict[str, Any]]:
    """Return the rows for JSON: an object with a field for each column."""
    return [{column.name: _json_value(column.value(row)) for column in columns} for row in rows]


def _json_value(value: CsvValue) -> Any:
    return value.isoformat().replace("+00:00", "Z") if isinstance(value, datetime) else value
