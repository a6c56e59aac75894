"""Execution of API requests, independent of HTTP."""

from collections.abc import Iterable, Mapping
from typing import Any

from ..engine.backend import Backend
from ..engine.errors import StripeError
from ..shapes.objects import Object
from .expand import check_depth, expand
from .faults import ApiFaults, Call
from .idempotency import IdempotencyKeys
from .params import list_of, string
from .routes import Match, Route, Router
from .versions import check_params, render

_EXPAND = list_of(string)


class ApiDispatcher:
    """Runs the operations of the API.

    Attributes:
        backend: the sandbox's state.
        router: finds the operation of a method and path.
        secret_key: the key that may call every operation.
        publishable_key: the key that may call the public operations.
        restricted_keys: the permissions of each restricted key, see `permissions`.
        faults: the simulated faults of the API, and the record of its requests.
        idempotency: the answers stored by idempotency key.
    """

    def __init__(
        self, backend: Backend, routes: Iterable[Route], secret_key: str, publishable_key: str
    ) -> None:
        self.backend = backend
        self.router = Router(routes)
        self.secret_key = secret_key
        self.publishable_key = publishable_key
        self.restricted_keys: dict[str, frozenset[str]] = {}
        self.faults = ApiFaults()
        self.idempotency = IdempotencyKeys(backend.clock)

    def run(self, match: Match, params: Mapping[str, Any], version: str | None = None) -> Object:
        """Run an operation and return its answer.

        Args:
            match: the operation and the identifiers in its path.
            params: the decoded parameters, see `forms.decode`.
            version: the API version that the request states; it decides the accepted parameters
                and the shape of the answer. None: it states none, and gets the current shape.

        Raises:
            StripeError: the operation failed, or the answer cannot be expanded as asked.
        """
        store = self.backend.store
        paths = _EXPAND(params.get("expand", ""), "expand")
        check_depth(paths)
        check_params(match.route, params, version)
        answer = match.run(params)
        try:
            expanded = expand(store, answer, paths)
        except StripeError as error:
            error.executed = True  # a retry with the same idempotency key must not run it again
            raise
        return dict(render(store, expanded, version))

    def record_call(
        self, method: str, path: str, idempotency_key: str | None, status: int | None
    ) -> None:
        """Record a request to the API.

        Args:
            method: the HTTP method.
            path: the URL's path.
            idempotency_key: the request's key, if it had one.
            status: the answer's HTTP status; None if the connection was cut.
        """
        self.faults.calls.append(Call(method, path, idempotency_key, status))
