"""Pagination of lists.

https://docs.stripe.com/api/pagination
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from ..engine.errors import bad_request, invalid
from ..shapes.objects import Object
from .params import Fields, integer, list_of, string, time_range

LIST_FIELDS: Fields = {
    "limit": integer,
    "starting_after": string,
    "ending_before": string,
    "created": time_range,
    "expand": list_of(string),
}

_COMPARE: dict[str, Callable[[int, int], bool]] = {
    "gt": lambda a, b: a > b,
    "gte": lambda a, b: a >= b,
    "lt": lambda a, b: a < b,
    "lte": lambda a, b: a <= b,
}


def of_customer(objects: Iterable[Object], values: Mapping[str, Any]) -> Iterator[Object]:
    """Yield the objects of the customer that a list asks for; all of them if it names none.

    Args:
        objects: the objects.
        values: the checked parameters of the list.
    """
    if "customer" not in values:
        return iter(objects)
    return (obj for obj in objects if obj["customer"] == values["customer"])


def page(
    objects: Iterable[Object], values: Mapping[str, Any], url: str, *, created: str = "created"
) -> Object:
    """Return one page of a list.

    Args:
        objects: the objects that match the list's own filters, newest first.
        values: the checked parameters of `LIST_FIELDS`.
        url: the list's path.
        created: the field with the time of creation.

    Raises:
        StripeError: the limit is not between 1 and 100, or a cursor names no object of the list.
    """
    limit = 10 if values.get("limit") is None else values["limit"]
    if not 1 <= limit <= 100:
        bound = "must be between 1 and 100"
        raise invalid(f"Invalid integer: {limit}; {bound}.", param="limit")
    bounds = values.get("created", {})
    rows = [
        obj for obj in objects if all(_COMPARE[op](obj[created], at) for op, at in bounds.items())
    ]
    after, before = values.get("starting_after"), values.get("ending_before")
    if after and before:
        raise invalid("You cannot use both `starting_after` and `ending_before`.")
    if after:
        rows = rows[_index(rows, after, "starting_after") + 1 :]
    if before:
        rows = rows[: _index(rows, before, "ending_before")]
        selected, more = rows[-limit:], len(rows) > limit
    else:
        selected, more = rows[:limit], len(rows) > limit
    return {"object": "list", "data": selected, "has_more": more, "url": url}


def _index(rows: list[Object], object_id: str, param: str) -> int:
    for index, obj in enumerate(rows):
        if obj["id"] == object_id:
            return index
    raise bad_request(f"No such object: '{object_id}'", code="resource_missing", param=param)
