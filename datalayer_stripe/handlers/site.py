"""What all handlers of one application share: the service, its traffic, and where it is served."""

import re
from collections.abc import Iterable, Mapping
from typing import Any, Literal

from tornado.web import RequestHandler, StaticFileHandler

from ..errors import Starting, Unavailable
from ..metrics import Metrics
from ..service import Service
from .bodies import BodyBudget
from .methods import implemented_methods
from .traffic import RequestTracker, Streams

# Those that an operator may want an alert on.
_COUNTED_STATUSES = (200, 400, 429, 500, 503)

IdentityKind = Literal["token", "cookie"]


class Site:
    """In an application's settings as `datalayer_stripe`.

    Args:
        metrics: what the requests are counted in.
        base_url: the path that all routes are below, such as `/` or `/user/ada/`.
        identity: how the checkout page says who calls: by the bearer token that Datalayer's UI
            keeps in the browser, or by the cookie of the server that we are a part of.
    """

    def __init__(
        self, metrics: Metrics, *, base_url: str = "/", identity: IdentityKind = "token"
    ) -> None:
        self.metrics = metrics
        self.request_tracker = RequestTracker(metrics.requests_in_flight)
        self.bodies = BodyBudget(metrics.body_bytes)
        self.streams = Streams(metrics.streams)
        self.root = base_url.rstrip("/")
        self.identity = identity
        self.routes: Mapping[type[RequestHandler], str] = {}
        """The metric label of each handler."""
        self._service: Service | None = None
        self._absence: type[Unavailable] = Starting

    @property
    def service(self) -> Service:
        """Raises the error that says why there is none, while there is none."""
        if self._service is None:
            raise self._absence
        return self._service

    def label_routes(self, handlers: Iterable[tuple[Any, ...]]) -> None:
        """Keep the metric label of each handler, and create its counters' series at 0.

        A series whose first sample is 1 has no increase for an alert to see.
        """
        self.routes = route_labels(handlers)
        for handler, route in self.routes.items():
            for method in implemented_methods(handler):
                if method == "OPTIONS":
                    continue  # a preflight of a browser
                for status in _COUNTED_STATUSES:
                    self.metrics.requests.labels(method, route, status)

    def open(self, service: Service) -> None:
        """Serve from now on."""
        self._service = service

    def shut(self, why: type[Unavailable]) -> None:
        """Answer all requests with this error from now on."""
        self._service, self._absence = None, why

    @property
    def page(self) -> str | None:
        """The path of the checkout page; None where it is another site's."""
        path = self.service.settings.checkout_path
        return path and f"{self.root}{path}"

    @property
    def checkout_route(self) -> str:
        """Where clients find the checkout page: as it is set, unless all is below another path."""
        if self.root and self.page:
            return self.page
        return self.service.settings.stripe_checkout_route


def route_labels(handlers: Iterable[tuple[Any, ...]]) -> dict[type[RequestHandler], str]:
    """The metric label of each handler: its pattern's first alias, and `{id}` for an id.

    Files are not counted.
    """
    return {
        handler: _label(pattern)
        for pattern, handler, *_ in handlers
        if not issubclass(handler, StaticFileHandler)
    }


def _label(pattern: str) -> str:
    first_alias = re.sub(r"\(\?:([^|)]*)[^)]*\)", r"\1", pattern)
    named = re.sub(r"\(\?P<(\w+)>[^)]*\)", r"{\1}", first_alias)
    return re.sub(r"\\(.)", r"\1", named)
