"""Search with Stripe's query language, such as `email~"example" AND metadata["team"]:"x"`.

New objects are found at once; Stripe needs up to a minute.

https://docs.stripe.com/search#search-query-language
https://docs.stripe.com/api/pagination/search
"""

import base64
import binascii
import operator
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from ..engine.errors import StripeError, invalid
from ..shapes.objects import Object
from .params import integer, list_of, read, string

_MIN_SUBSTRING = 3  # characters
_QUOTED = r'"(?:\\.|[^"\\])*"' + r"|'(?:\\.|[^'\\])*'"
_CLAUSE = re.compile(
    rf"(?P<negated>-?)(?P<field>\w[\w.]*)(?:\[(?P<key>{_QUOTED})\])?"
    rf"\s*(?P<operator>:|~|>=|<=|>|<)\s*(?P<value>{_QUOTED}|[^\s\"']+)"
)
_JOIN = re.compile(r"\s+(?:(?P<word>AND|OR)\s+)?", re.IGNORECASE)
_COMPARE: dict[str, Callable[[float, float], bool]] = {
    ":": operator.eq,
    ">": operator.gt,
    ">=": operator.ge,
    "<": operator.lt,
    "<=": operator.le,
}


@dataclass(frozen=True)
class Field:
    """A search field.

    Attributes:
        operators: the operators that it supports.
        path: the dotted path of its value in the object; empty: the field's name.
    """

    operators: tuple[str, ...]
    path: str = ""


TOKEN = Field((":",))
STRING = Field((":", "~"))
NUMERIC = Field((":", ">", ">=", "<", "<="))

SearchFields = Mapping[str, Field]


@dataclass(frozen=True)
class _Clause:
    """A condition on the value at a path of the object; `value` is None for `null`."""

    path: tuple[str, ...]
    operator: str
    value: str | float | None
    negated: bool

    def matches(self, obj: Object) -> bool:
        found: Any = obj
        for name in self.path:
            found = found.get(name) if isinstance(found, dict) else None
        return self._compares(found) != self.negated

    def _compares(self, found: Any) -> bool:
        if found is None or self.value is None:
            return found is self.value
        if isinstance(self.value, float):
            return _COMPARE[self.operator](found, self.value)
        text, wanted = str(found).lower(), self.value.lower()
        return wanted in text if self.operator == "~" else wanted == text


def search(
    objects: Iterable[Object], raw: Mapping[str, Any], fields: SearchFields, url: str
) -> Object:
    """Return one page of the objects that match a query.

    Args:
        objects: the objects, newest first.
        raw: the decoded parameters: `query`, `limit`, `page`.
        fields: the search fields by name, besides `metadata[…]`.
        url: the operation's path.

    Raises:
        StripeError: the query, the limit or the page is invalid.
    """
    accepted = {"query": string, "limit": integer, "page": string, "expand": list_of(string)}
    values = read(raw, accepted, required=["query"])
    matches = _parse(values["query"], fields)
    limit = 10 if values.get("limit") is None else values["limit"]
    if not 1 <= limit <= 100:
        raise invalid(f"Invalid integer: {limit}; must be between 1 and 100.", param="limit")
    rows = [obj for obj in objects if matches(obj)]
    total = len(rows)
    if values.get("page"):
        rows = rows[_index_after(rows, values["page"]) :]
    selected, more = rows[:limit], len(rows) > limit
    answer = {
        "object": "search_result",
        "data": selected,
        "has_more": more,
        "next_page": _cursor(selected[-1]) if more else None,
        "url": url,
    }
    if "total_count" in values.get("expand", []):
        answer["total_count"] = total
    return answer


def _parse(query: str, fields: SearchFields) -> Callable[[Object], bool]:
    """Return a function that tells whether an object matches a query."""
    clauses: list[_Clause] = []
    words: set[str] = set()
    position, text = 0, query.strip()
    while True:
        found = _CLAUSE.match(text, position)
        if found is None:
            raise _unparsable(query)
        clauses.append(_clause(found, fields))
        position = found.end()
        if position == len(text):
            break
        joined = _JOIN.match(text, position)
        if joined is None:
            raise _unparsable(query)
        words.add((joined["word"] or "AND").upper())
        position = joined.end()
    if len(words) > 1:
        raise invalid("A search query cannot combine AND and OR.", param="query")
    combine = any if words == {"OR"} else all
    return lambda obj: combine(clause.matches(obj) for clause in clauses)


def _clause(found: re.Match[str], fields: SearchFields) -> _Clause:
    name, symbol = found["field"], found["operator"]
    if name == "metadata" and found["key"]:
        field, path = TOKEN, ("metadata", _unquoted(found["key"]))
    elif name in fields and not found["key"]:
        field = fields[name]
        path = tuple((field.path or name).split("."))
    else:
        raise invalid(f"Field `{name}` is an unsupported search field.", param="query")
    if symbol not in field.operators:
        raise invalid(f"Field `{name}` does not support the operator `{symbol}`.", param="query")
    value = _value(name, field, symbol, found["value"])
    return _Clause(path, symbol, value, bool(found["negated"]))


def _value(name: str, field: Field, symbol: str, quoted: str) -> str | float | None:
    text = _unquoted(quoted)
    if quoted.lower() == "null":
        return None
    if field is NUMERIC:
        try:
            return float(text)
        except ValueError:
            raise invalid(f"Field `{name}` needs a number, not `{text}`.", param="query") from None
    if text == quoted and text not in ("true", "false"):
        raise invalid(f"The value of `{name}` must be in quotation marks.", param="query")
    if symbol == "~" and len(text) < _MIN_SUBSTRING:
        raise invalid(
            f"A substring of `{name}` needs at least {_MIN_SUBSTRING} characters.", param="query"
        )
    return text


def _unquoted(text: str) -> str:
    """Return a quoted text without its quotation marks and backslashes; other text unchanged."""
    return re.sub(r"\\(.)", r"\1", text[1:-1]) if text[0] in "\"'" else text


def _cursor(obj: Object) -> str:
    return base64.urlsafe_b64encode(obj["id"].encode()).decode()


def _index_after(rows: list[Object], cursor: str) -> int:
    try:
        last = base64.urlsafe_b64decode(cursor.encode()).decode()
    except (binascii.Error, UnicodeError):
        last = ""
    for index, obj in enumerate(rows):
        if obj["id"] == last:
            return index + 1
    raise invalid("Invalid page: use the `next_page` of an earlier answer.", param="page")


def _unparsable(query: str) -> StripeError:
    return invalid(
        f"We were unable to parse your search query: {query}. Refer to "
        "https://docs.stripe.com/search#search-query-language for the format.",
        param="query",
    )
