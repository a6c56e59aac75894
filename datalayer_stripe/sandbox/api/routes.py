"""Routes of the API: method, path and operation."""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from ..shapes.objects import Object

# Called with the decoded parameters and the identifiers in the path.
Operation = Callable[..., Object]


@dataclass(frozen=True)
class Route:
    """An operation of the API.

    Attributes:
        method: `GET`, `POST` or `DELETE`.
        path: the path's pattern, such as `/v1/prices/{id}`.
        operation: called with the decoded parameters and the identifiers in the path.
        public: whether the publishable key may call it. For an existing object it also needs the
            object's `client_secret`.
    """

    method: str
    path: str
    operation: Operation
    public: bool = False


@dataclass(frozen=True)
class Match:
    """A route that matches a request, and the identifiers in the request's path."""

    route: Route
    ids: dict[str, str]

    def run(self, params: Mapping[str, Any]) -> Object:
        """Run the operation and return the object it answers."""
        return self.route.operation(params, **self.ids)


class Router:
    """Table of routes."""

    def __init__(self, routes: Iterable[Route]) -> None:
        self._routes = [(_pattern(route.path), route) for route in routes]

    def match(self, method: str, path: str) -> Match | None:
        """Return the route that matches a method and path; None if there is none."""
        for pattern, route in self._routes:
            found = pattern.fullmatch(path)
            if found and route.method == method:
                return Match(route, found.groupdict())
        return None


def _pattern(path: str) -> re.Pattern[str]:
    return re.compile(re.sub(r"\{(\w+)\}", r"(?P<\1>[^/]+)", path))
