"""The objects of a sandbox, by identifier."""

import copy
from collections.abc import Iterator, Mapping
from typing import Any

from ..shapes.objects import Object
from .errors import no_such


class Store:
    """Objects by identifier and by type. References are identifiers; nothing is expanded."""

    def __init__(self) -> None:
        self._objects: dict[str, Object] = {}
        self._kinds: dict[str, dict[str, Object]] = {}

    def __iter__(self) -> Iterator[Object]:
        """Iterate over all objects in the order in which they were stored."""
        return iter(self._objects.values())

    def put(self, obj: Object) -> Object:
        """Store an object under its `id`, in place of any earlier one."""
        self._objects[obj["id"]] = obj
        self._kinds.setdefault(obj["object"], {})[obj["id"]] = obj
        return obj

    def find(self, object_id: object) -> Object | None:
        """Return the object with an identifier, of any type; None if there is none."""
        return self._objects.get(object_id) if isinstance(object_id, str) else None

    def get(self, kind: str, object_id: object, param: str = "id") -> Object:
        """Return an object of a type.

        Args:
            kind: the object's type, such as `price`.
            object_id: its identifier.
            param: the parameter that names the object; `id` if it is in the path.

        Raises:
            StripeError: `resource_missing`; 404 if the object is in the path, otherwise 400.
        """
        found = self._kinds.get(kind, {}).get(str(object_id))
        if found is None or found.get("deleted"):
            raise no_such(kind, str(object_id), param, status=404 if param == "id" else 400)
        return found

    def of_kind(self, kind: str) -> Iterator[Object]:
        """Iterate over the objects of a type, newest first."""
        newest_last = sorted(self._kinds.get(kind, {}).values(), key=lambda o: o.get("created", 0))
        return reversed(newest_last)

    def remove(self, obj: Object) -> None:
        """Remove an object."""
        del self._objects[obj["id"]]
        del self._kinds[obj["object"]][obj["id"]]

    def change(self, obj: Object, changes: Mapping[str, Any]) -> Object:
        """Apply changes to a stored object, without an event; return the `previous_attributes`."""
        previous = {
            name: _previous(obj.get(name), value)
            for name, value in changes.items()
            if obj.get(name) != value
        }
        obj.update(copy.deepcopy(dict(changes)))
        return previous


def _previous(old: Any, new: Any) -> Any:
    """Return the old value; of a hash, only the keys whose values differ."""
    if not isinstance(old, dict) or not isinstance(new, dict) or "object" in old:
        return copy.deepcopy(old)
    names = {*old, *new}
    return {
        name: _previous(old.get(name), new.get(name))
        for name in sorted(names)
        if old.get(name) != new.get(name)
    }


def merge_metadata(current: Mapping[str, str], change: Mapping[str, str]) -> dict[str, str]:
    """Return metadata after a change.

    Args:
        current: the object's metadata.
        change: the new values by key. An empty value removes its key; the key `""` removes all
            keys.
    """
    if "" in change:
        return {}
    merged = {**current, **change}
    return {key: text for key, text in merged.items() if text != ""}
