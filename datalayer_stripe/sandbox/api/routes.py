"""A route of the API: method, path and the operation behind them."""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from ..shapes.objects import Object

# An operation takes the raw parameters and the identifiers in the path.
Operation = Callable[..., Object]


@dataclass(frozen=True)
class Route:
    """An operation of the API.

    Attributes:
        method: `GET`, `POST` or `DELETE`.
        path: such as `/v1/prices/{id}`.
        operation: called with the raw parameters and the path's identifiers.
        public: whether a publishable key may call it; for an object that there is, with its
            `client_secret`.
    """

    method: str
    path: str
    operation: Operation
    public: bool = False


@dataclass(frozen=True)
class Match:
    """A route and the identifiers of a path that matched it."""

    route: Route
    ids: dict[str, str]

    def run(self, params: Mapping[str, Any]) -> Object:
        """Run the operation."""
        return self.route.operation(params, **self.ids)


class Router:
    """Finds the route of a request."""

    def __init__(self, routes: Iterable[Route]) -> None:
        self._routes = [(_pattern(route.path), route) for route in routes]

    def match(self, method: str, path: str) -> Match | None:
        """Return the route of a method and path; None if there is none."""
        for pattern, route in self._routes:
            found = pattern.fullmatch(path)
            if found and route.method == method:
                return Match(route, found.groupdict())
        return None


def _pattern(path: str) -> re.Pattern[str]:
    return re.compile(re.sub(r"\{(\w+)\}", r"(?P<\1>[^/]+)", path))
