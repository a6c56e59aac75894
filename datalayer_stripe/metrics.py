"""What the service counts, for Prometheus: prometheus.github.io/client_python."""

import re
import time
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST

from .errors import PluginFault

CONTENT_TYPE = CONTENT_TYPE_LATEST

# To write them all takes some 15 ms of the event loop. Strangers may ask, too: whoever asks within
# this time gets what was written last.
FRESH_SECONDS = 1.0

# Stripe answers in tenths of a second, our own routes in milliseconds.
_BUCKETS = (0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0)


_NAME = re.compile(r"[a-z][a-z0-9_]*")

M = TypeVar("M", Counter, Gauge, Histogram)


class PluginMetrics:
    """Makes a metric at its first use and gives it again at each later one.

    Names are short: `mails` is `datalayer_stripe_plugin_<name>_mails`, and a counter ends in
    `_total`. Use few values for a label: each is a time series.

    Raises PluginFault for a malformed name, and for one that is a metric of another kind or with
    other labels.
    """

    def __init__(self, registry: CollectorRegistry, plugin_name: str) -> None:
        self._registry = registry
        self._prefix = f"datalayer_stripe_plugin_{plugin_name.replace('-', '_')}_"
        self._made: dict[str, tuple[tuple[str, ...], Any]] = {}

    def counter(self, name: str, documentation: str, labels: Sequence[str] = ()) -> Counter:
        """What only goes up: `ctx.metrics.counter("mails", "Mails sent.").inc()`."""
        return self._metric(Counter, name, documentation, labels)

    def gauge(self, name: str, documentation: str, labels: Sequence[str] = ()) -> Gauge:
        """What goes up and down."""
        return self._metric(Gauge, name, documentation, labels)

    def histogram(
        self,
        name: str,
        documentation: str,
        labels: Sequence[str] = (),
        *,
        buckets: Sequence[float] = Histogram.DEFAULT_BUCKETS,
    ) -> Histogram:
        """How something is spread, such as seconds; `buckets` count at its first use."""
        return self._metric(Histogram, name, documentation, labels, buckets=buckets)

    def _metric(
        self,
        kind: Callable[..., M],
        name: str,
        documentation: str,
        labels: Sequence[str],
        **more: Any,
    ) -> M:
        if not _NAME.fullmatch(name):
            raise PluginFault(f"{name!r} is no name of a metric: lower-case letters, digits and _")
        if name not in self._made:
            metric = kind(
                self._prefix + name, documentation, labels, registry=self._registry, **more
            )
            self._made[name] = tuple(labels), metric
        made_labels, made = self._made[name]
        if type(made) is not kind or made_labels != tuple(labels):
            raise PluginFault(f"{name} is a metric of another kind or with other labels already")
        found: M = made
        return found


class Metrics:
    """One set of metrics for one service; several services may live in one process.

    `monotonic` returns seconds.
    """

    def __init__(self, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        self.registry = CollectorRegistry()
        self._monotonic = monotonic
        self._exposition = b""
        self._written_at = float("-inf")
        self._plugins: dict[str, PluginMetrics] = {}
        self.requests = Counter(
            "datalayer_stripe_requests",
            "HTTP requests answered.",
            ["method", "route", "status"],
            registry=self.registry,
        )
        self.request_seconds = Histogram(
            "datalayer_stripe_request_seconds",
            "Time from a request's headers to its answer.",
            ["method", "route"],
            buckets=_BUCKETS,
            registry=self.registry,
        )
        self.requests_in_flight = Gauge(
            "datalayer_stripe_requests_in_flight",
            "HTTP requests that are being worked on.",
            registry=self.registry,
        )
        self.body_bytes = Gauge(
            "datalayer_stripe_body_bytes",
            "Bytes of request bodies that are in memory.",
            registry=self.registry,
        )
        self.streams = Gauge(
            "datalayer_stripe_streams",
            "Streams of balance and plan changes that are open.",
            registry=self.registry,
        )
        self.deliveries = Counter(
            "datalayer_stripe_deliveries",
            "Verified deliveries, by event type and outcome (processed, duplicate, ignored, "
            "rejected, failed, overloaded).",
            ["type", "outcome"],
            registry=self.registry,
        )
        self.events_open = Gauge(
            "datalayer_stripe_events_open",
            "Events that a plugin has failed or rejected and not finished since, of all processes, "
            "counted once a minute.",
            ["status", "plugin"],
            registry=self.registry,
        )
        self.deliveries_in_flight = Gauge(
            "datalayer_stripe_deliveries_in_flight",
            "Deliveries that are being worked on.",
            registry=self.registry,
        )
        self.credits_added = Counter(
            "datalayer_stripe_credits_added",
            "Credits added to accounts.",
            registry=self.registry,
        )
        self.credits_taken_back = Counter(
            "datalayer_stripe_credits_taken_back",
            "Credits taken back after refunds and disputes.",
            registry=self.registry,
        )
        self.jobs = Counter(
            "datalayer_stripe_jobs",
            "Runs of deferred plugins, by plugin and outcome (processed, duplicate, rejected, "
            "failed).",
            ["plugin", "outcome"],
            registry=self.registry,
        )
        self.jobs_waiting = Gauge(
            "datalayer_stripe_jobs_waiting",
            "Deferred work that is not finished, of all processes.",
            registry=self.registry,
        )
        self.reconcile_last_success = Gauge(
            "datalayer_stripe_reconcile_last_success_timestamp_seconds",
            "When the last periodic reconciliation that succeeded began, in any process, in "
            "seconds since 1970; 0 before the first.",
            registry=self.registry,
        )
        self.stripe_calls = Counter(
            "datalayer_stripe_stripe_calls",
            "Calls to Stripe's API, by operation and outcome (ok, or the kind of error).",
            ["operation", "outcome"],
            registry=self.registry,
        )
        self.stripe_seconds = Histogram(
            "datalayer_stripe_stripe_call_seconds",
            "Time of a call to Stripe's API, with its retries.",
            ["operation"],
            buckets=_BUCKETS,
            registry=self.registry,
        )

    def of_plugin(self, name: str) -> PluginMetrics:
        """A plugin's own, the same ones at each call."""
        return self._plugins.setdefault(name, PluginMetrics(self.registry, name))

    def exposition(self) -> bytes:
        """Return the metrics in Prometheus' text format. They may be a second old."""
        now = self._monotonic()
        if now - self._written_at >= FRESH_SECONDS:
            self._exposition, self._written_at = generate_latest(self.registry), now
        return self._exposition
