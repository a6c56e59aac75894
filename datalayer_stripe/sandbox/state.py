"""The objects of a sandbox by identifier, and pages of them.

https://docs.stripe.com/api/pagination
"""

import copy
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from .errors import bad_request, invalid, no_such
from .params import Fields, integer, list_of, string, time_range

Object = dict[str, Any]

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


class Store:
    """Stripe objects as they are stored: references are identifiers, nothing is expanded."""

    def __init__(self) -> None:
        self._objects: dict[str, Object] = {}
        self._kinds: dict[str, dict[str, Object]] = {}

    def __iter__(self) -> Iterator[Object]:
        """Iterate over all objects, in the order in which they were stored."""
        return iter(self._objects.values())

    def put(self, obj: Object) -> Object:
        """Store an object under its `id`; one of the same identifier is replaced."""
        self._objects[obj["id"]] = obj
        self._kinds.setdefault(obj["object"], {})[obj["id"]] = obj
        return obj

    def find(self, object_id: object) -> Object | None:
        """Return the object of this identifier, of any kind, or None."""
        return self._objects.get(object_id) if isinstance(object_id, str) else None

    def get(self, kind: str, object_id: object, param: str = "id") -> Object:
        """Return the object that a path addresses (`param` is `id`) or a parameter names.

        Raises:
            StripeError: `resource_missing`, with 404 or 400.
        """
        found = self._kinds.get(kind, {}).get(str(object_id))
        if found is None or found.get("deleted"):
            raise no_such(kind, str(object_id), param, status=404 if param == "id" else 400)
        return found

    def of_kind(self, kind: str) -> Iterator[Object]:
        """Iterate over the objects of a kind, newest first."""
        newest_last = sorted(self._kinds.get(kind, {}).values(), key=lambda o: o.get("created", 0))
        return reversed(newest_last)

    def remove(self, obj: Object) -> None:
        """Forget an object."""
        del self._objects[obj["id"]]
        del self._kinds[obj["object"]][obj["id"]]

    def change(self, obj: Object, changes: Mapping[str, Any]) -> Object:
        """Apply changes to a stored object and return its `previous_attributes`."""
        previous = {
            name: _previous(obj.get(name), value)
            for name, value in changes.items()
            if obj.get(name) != value
        }
        obj.update(copy.deepcopy(dict(changes)))
        return previous


def _previous(old: Any, new: Any) -> Any:
    """Return the part of an old value that differs; of a hash, only the keys that do."""
    if not isinstance(old, dict) or not isinstance(new, dict) or "object" in old:
        return copy.deepcopy(old)
    names = {*old, *new}
    return {
        name: _previous(old.get(name), new.get(name))
        for name in sorted(names)
        if old.get(name) != new.get(name)
    }


def page(objects: Iterable[Object], values: Mapping[str, Any], url: str) -> Object:
    """Return one page of objects that come newest first.

    Args:
        objects: all that match the list's own filters.
        values: the checked parameters of `LIST_FIELDS`.
        url: the list's path.

    Raises:
        StripeError: the limit is out of bounds, or a cursor names no object.
    """
    limit = 10 if values.get("limit") is None else values["limit"]
    if not 1 <= limit <= 100:
        bound = "must be between 1 and 100"
        raise invalid(f"Invalid integer: {limit}; {bound}.", param="limit")
    bounds = values.get("created", {})
    rows = [
        obj for obj in objects if all(_COMPARE[op](obj["created"], at) for op, at in bounds.items())
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
