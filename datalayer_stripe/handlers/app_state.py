"""State that all handlers of one application share."""

import re
from collections.abc import Iterable, Mapping
from typing import Any, Literal

from prometheus_client import Counter, Histogram
from tornado.web import RequestHandler, StaticFileHandler

from ..errors import Starting, Unavailable
from ..metrics import Metrics
from ..service import Service
from ..settings import Settings
from ..settings_checks import Network
from .bodies import BodyBudget, BodyDeadlines
from .methods import implemented_methods
from .refusals import Refusals
from .traffic import RequestTracker, StreamLimiter

# The statuses on which operators may set an alert.
_ALERT_STATUSES = (200, 400, 429, 500, 503)

_MB = 1024 * 1024

IdentityKind = Literal["token", "cookie"]


class AppState:
    """State shared by all handlers, stored in the application's settings as `datalayer_stripe`.

    Args:
        metrics: The metrics that count requests.
        base_url: The path prefix of all routes, such as `/` or `/user/ada/`.
        identity_kind: How the checkout page authenticates: `token` for the bearer token that
            Datalayer's UI stores in the browser, `cookie` for the cookie of the Jupyter Server.
    """

    def __init__(
        self, metrics: Metrics, *, base_url: str = "/", identity_kind: IdentityKind = "token"
    ) -> None:
        self.metrics = metrics
        self.request_tracker = RequestTracker(metrics.requests_in_flight)
        default_memory: int = Settings.model_fields["stripe_max_body_memory"].default
        self.body_budget = BodyBudget(metrics.body_bytes, limit=default_memory * _MB)
        self.body_deadlines = BodyDeadlines()
        self.refusals = Refusals(metrics.refusals)
        self.stream_limiter = StreamLimiter(metrics.streams)
        self.base_path = base_url.rstrip("/")
        self.identity_kind = identity_kind
        self.openapi = b""
        """The description of the HTTP API, in OpenAPI 3.1, as JSON."""
        self.route_labels: Mapping[type[RequestHandler], str] = {}
        """The metric label of each handler class."""
        self._series: dict[tuple[type[RequestHandler], str, int], tuple[Counter, Histogram]] = {}
        self._service: Service | None = None
        self._unavailable: type[Unavailable] = Starting

    @property
    def service(self) -> Service:
        """The service that the handlers call.

        Raises:
            Unavailable: There is no service. The subclass says why.
        """
        if self._service is None:
            raise self._unavailable
        return self._service

    @property
    def trusted_proxies(self) -> tuple[Network, ...]:
        """The proxies whose `X-Forwarded-For` counts; none while there is no service."""
        return () if self._service is None else self._service.settings.trusted_proxies

    def set_service(self, service: Service) -> None:
        """Serve requests with `service` from now on, within the limits of its settings."""
        self._service = service
        settings = service.settings
        self.body_budget.limit = settings.stripe_max_body_memory * _MB
        self.stream_limiter.set_limits(
            max_streams=settings.stripe_max_streams,
            max_per_account=settings.stripe_max_streams_per_account,
        )

    def set_unavailable(self, error: type[Unavailable]) -> None:
        """Answer all requests with `error` from now on."""
        self._service, self._unavailable = None, error

    def label_routes(self, handlers: Iterable[tuple[Any, ...]]) -> None:
        """Set the metric label of each handler, and create its time series with the value 0.

        A series that starts at 1 has no increase that an alert could detect.

        Args:
            handlers: The routes, as Tornado's `Application` takes them: pattern, handler, options.
        """
        self.route_labels = _labels(handlers)
        self._series.clear()
        for handler, route in self.route_labels.items():
            for method in implemented_methods(handler):
                if method == "OPTIONS":
                    continue  # a preflight request
                for status in _ALERT_STATUSES:
                    self.metrics.requests.labels(method, route, status)

    def series_of(
        self, handler: type[RequestHandler], method: str, status: int
    ) -> tuple[Counter, Histogram]:
        """Return the series that count a request: their labels are looked up once.

        Args:
            handler: The class of the handler. A path that is no route must not have its own series.
            method: The method, from a limited set.
            status: The status of the response.
        """
        key = (handler, method, status)
        found = self._series.get(key)
        if found is None:
            route = self.route_labels.get(handler, "unmatched")
            found = self._series[key] = (
                self.metrics.requests.labels(method, route, status),
                self.metrics.request_seconds.labels(method, route),
            )
        return found

    @property
    def page_path(self) -> str | None:
        """The path of the checkout page with the base URL; None if another site serves it."""
        path = self.service.settings.checkout_path
        return path and f"{self.base_path}{path}"

    @property
    def checkout_route(self) -> str:
        """The location of the checkout page for clients.

        It is the setting itself, except below a base URL, where the setting alone does not lead
        to the page.
        """
        if self.base_path and self.page_path:
            return self.page_path
        return self.service.settings.stripe_checkout_route


def _labels(handlers: Iterable[tuple[Any, ...]]) -> dict[type[RequestHandler], str]:
    """Return the metric label of each handler that does not serve files."""
    return {
        handler: _label(pattern)
        for pattern, handler, *_ in handlers
        if not issubclass(handler, StaticFileHandler)
    }


def _label(pattern: str) -> str:
    """Return a URL pattern as a label: the first alias of a group, and `{id}` for an id."""
    first_alias = re.sub(r"\(\?:([^|)]*)[^)]*\)", r"\1", pattern)
    named = re.sub(r"\(\?P<(\w+)>[^)]*\)", r"{\1}", first_alias)
    return re.sub(r"\\(.)", r"\1", named)
