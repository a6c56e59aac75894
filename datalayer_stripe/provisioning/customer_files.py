"""Read the files of `customers import` and `customers sync`.

A line that cannot be used is refused with its number; the others are used. A line is a record of
its own, so that a missing quotation mark does not swallow the lines below it.
"""

import csv
from collections.abc import Iterable, Iterator, Sequence
from typing import Annotated, Any, NamedTuple, TypeVar

from pydantic import AfterValidator, Field, ValidationError

from ..errors import InvalidRequest
from ..models import AccountUid, Identity, Model
from .customer_links import CustomerResult, Link, Outcome, without_contradictions

MAX_LINES = 1_000_000
"""Maximum number of lines of a file. It bounds the memory that a run needs."""

# Stripe's limits: https://docs.stripe.com/api/customers/create.
_MAX_EMAIL_CHARS = 512
_MAX_NAME_CHARS = 256

# What a decoder puts in place of bytes that are not UTF-8.
_UNDECODABLE = "\N{REPLACEMENT CHARACTER}"


def _printable(value: str) -> str:
    if not value.isprintable():
        raise ValueError("email or name has characters that cannot be printed")
    return value


_Printable = AfterValidator(_printable)


class AccountLine(Model):
    """An account, with the e-mail address and the name of its new customer."""

    account_uid: AccountUid
    email: (
        Annotated[
            str,
            Field(pattern=r"^[^@\s]+@[^@\s]+$", max_length=_MAX_EMAIL_CHARS),
            _Printable,
        ]
        | None
    ) = None
    name: Annotated[str, Field(max_length=_MAX_NAME_CHARS), _Printable] | None = None

    def identity(self) -> Identity:
        """Return the identity for which the customer is created."""
        return Identity(account_uid=self.account_uid, email=self.email, name=self.name)


_LINK_COLUMNS = ("account_uid", "customer_id")
_ACCOUNT_COLUMNS = tuple(AccountLine.model_fields)

_FAULTS = {
    "account_uid": "account_uid is not the uid of an account",
    "customer_id": "customer_id is not the id of a customer, cus_…",
    "email": "email is not an e-mail address",
    "name": f"name has more than {_MAX_NAME_CHARS} characters",
}

M = TypeVar("M", bound=Model)


class _Row(NamedTuple):
    line: int
    cells: list[str]
    fault: str | None = None


def read_links(lines: Iterable[str]) -> tuple[list[Link], list[CustomerResult]]:
    """Read a CSV file with the columns `account_uid` and `customer_id`, in any order.

    Args:
        lines: The lines of the file. The first one that is not empty is the header.

    Returns:
        The links, and a refusal of each line that cannot be used.

    Raises:
        InvalidRequest: The header has other columns, or the file is too long.
    """
    rows = _rows(lines)
    header = next(rows, _Row(1, []))
    if sorted(header.cells) != sorted(_LINK_COLUMNS):
        raise InvalidRequest(
            f"Line {header.line} must be the header {','.join(_LINK_COLUMNS)}, "
            "without other columns."
        )
    links, refused = [], []
    for line, parsed in _parse(rows, header.cells, Link):
        if isinstance(parsed, Link):
            links.append(parsed.model_copy(update={"line": line}))
        else:
            refused.append(parsed)
    single, contradictions = without_contradictions(links)
    return single, _by_line([*refused, *contradictions])


def read_accounts(lines: Iterable[str]) -> tuple[list[Identity], list[CustomerResult]]:
    """Read a file with one account uid per line, and optionally an e-mail address and a name.

    Args:
        lines: The lines of the file. The columns are `account_uid,email,name`, unless the first
            line is a header with another order.

    Returns:
        The accounts, and a refusal of each line that cannot be used.

    Raises:
        InvalidRequest: The header has other columns, or the file is too long.
    """
    rows = _rows(lines)
    first = next(rows, _Row(1, []))
    columns: Sequence[str] = _ACCOUNT_COLUMNS
    if "account_uid" in first.cells:
        columns = first.cells
        if len(set(columns) & set(_ACCOUNT_COLUMNS)) < len(columns):
            raise InvalidRequest(
                f"Line {first.line} may only have the columns {', '.join(_ACCOUNT_COLUMNS)}."
            )
    elif first.cells or first.fault:
        rows = _prepended(first, rows)
    lines_of: dict[str, int] = {}
    identities, refused = [], []
    for line, parsed in _parse(rows, columns, AccountLine):
        if isinstance(parsed, CustomerResult):
            refused.append(parsed)
        elif (before := lines_of.setdefault(parsed.account_uid, line)) != line:
            reason = f"repeats the account of line {before}"
            refused.append(_refusal(line, reason, parsed.account_uid))
        else:
            identities.append(parsed.identity())
    return identities, _by_line(refused)


def _prepended(first: _Row, rows: Iterator[_Row]) -> Iterator[_Row]:
    yield first
    yield from rows


def _rows(lines: Iterable[str]) -> Iterator[_Row]:
    """Yield each line that is not empty, with its number.

    Raises:
        InvalidRequest: There are too many lines.
    """
    for number, line in enumerate(lines, 1):
        if number > MAX_LINES:
            raise InvalidRequest(f"The file has more than {MAX_LINES:,} lines. Split it.")
        if _UNDECODABLE in line:
            yield _Row(number, [], "is not UTF-8")
            continue
        try:
            [cells] = (
                csv.reader([line], strict=True, skipinitialspace=True) if line.strip() else [[]]
            )
        except (csv.Error, ValueError):
            yield _Row(number, [], "is not CSV")
            continue
        if any(cells):
            yield _Row(number, [cell.strip() for cell in cells])


def _parse(
    rows: Iterable[_Row], columns: Sequence[str], model: type[M]
) -> Iterator[tuple[int, M | CustomerResult]]:
    """Yield the number of each line with its model, or with its refusal."""
    for line, cells, fault in rows:
        if fault is not None:
            yield line, _refusal(line, fault)
        elif len(cells) > len(columns):
            yield line, _refusal(line, f"has {len(cells)} columns instead of {len(columns)}")
        else:
            fields = {name: cell for name, cell in zip(columns, cells, strict=False) if cell}
            yield line, _validated(line, fields, model)


def _validated(line: int, fields: dict[str, str], model: type[M]) -> M | CustomerResult:
    try:
        return model.model_validate(fields)
    except ValidationError as error:
        fault: Any = error.errors(include_input=False, include_url=False)[0]
        own = fault["type"] == "value_error"  # our own message, which repeats no text of the line
        reason = str(fault["ctx"]["error"]) if own else _FAULTS[fault["loc"][0]]
        return _refusal(line, reason)


def _refusal(line: int, reason: str, account_uid: str | None = None) -> CustomerResult:
    return CustomerResult(Outcome.REFUSED, account_uid, line=line, reason=reason)


def _by_line(results: Iterable[CustomerResult]) -> list[CustomerResult]:
    return sorted(results, key=lambda one: one.line or 0)
