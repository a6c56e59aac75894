"""Prometheus metrics of the service and of its plugins.

https://prometheus.github.io/client_python/
"""

import re
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal, TypeVar

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST

from .errors import PluginFault
from .metric_files import MetricFiles

CONTENT_TYPE = CONTENT_TYPE_LATEST

CACHE_SECONDS = 1.0
"""How long the text for Prometheus is cached.

Creating it blocks the event loop for about 15 ms, and the route is public.
"""

# In seconds. Stripe's API answers in tenths of a second, the service's routes in milliseconds.
_BUCKETS = (0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0)

_NAME = re.compile(r"[a-z][a-z0-9_]*")

M = TypeVar("M", Counter, Gauge, Histogram)

GaugeMode = Literal["liveall", "livesum", "livemin", "livemax", "all", "sum", "min", "max"]
"""How a gauge is exported by `serve --processes`: each process by itself, or one number for all."""


class PluginMetrics:
    """Metrics of one plugin. Each metric is created at its first use.

    Use short names: the metric `mails` of the plugin `mailer` is exported as
    `datalayer_stripe_plugin_mailer_mails`, and a counter gets the suffix `_total`. Use labels with
    few values only, because each value creates a time series.

    Args:
        registry: The registry of the service's metrics.
        plugin_name: The name of the plugin.
    """

    def __init__(self, registry: CollectorRegistry, plugin_name: str) -> None:
        self._registry = registry
        self._prefix = f"datalayer_stripe_plugin_{plugin_name.replace('-', '_')}_"
        self._metrics: dict[str, tuple[tuple[str, ...], Any]] = {}

    def counter(self, name: str, documentation: str, labels: Sequence[str] = ()) -> Counter:
        """Return a counter: `ctx.metrics.counter("mails", "Mails sent.").inc()`.

        Args:
            name: The short name: lower-case letters, digits and underscores.
            documentation: The help text.
            labels: The names of the labels.

        Raises:
            PluginFault: The name is not valid, or is a metric of another kind or with other labels.
        """
        return self._metric(Counter, name, documentation, labels)

    def gauge(
        self,
        name: str,
        documentation: str,
        labels: Sequence[str] = (),
        *,
        multiprocess_mode: GaugeMode = "liveall",
    ) -> Gauge:
        """Return a gauge: a value that goes up and down.

        Args:
            name: The short name: lower-case letters, digits and underscores.
            documentation: The help text.
            labels: The names of the labels.
            multiprocess_mode: How `serve --processes` exports it. `liveall` exports a series for
                each running process, with its number as the label `pid`; `livesum`, `livemin` and
                `livemax` export one number for all running processes. Without `live`, the last
                values of dead processes count until they are replaced.

        Raises:
            PluginFault: The name is not valid, or is a metric of another kind or with other labels.
        """
        return self._metric(Gauge, name, documentation, labels, multiprocess_mode=multiprocess_mode)

    def histogram(
        self,
        name: str,
        documentation: str,
        labels: Sequence[str] = (),
        *,
        buckets: Sequence[float] = Histogram.DEFAULT_BUCKETS,
    ) -> Histogram:
        """Return a histogram: a distribution of values, such as durations.

        Args:
            name: The short name: lower-case letters, digits and underscores.
            documentation: The help text.
            labels: The names of the labels.
            buckets: The upper bounds of the buckets. They are used when the metric is created.

        Raises:
            PluginFault: The name is not valid, or is a metric of another kind or with other labels.
        """
        return self._metric(Histogram, name, documentation, labels, buckets=buckets)

    def _metric(
        self,
        kind: Callable[..., M],
        name: str,
        documentation: str,
        labels: Sequence[str],
        **options: Any,
    ) -> M:
        if not _NAME.fullmatch(name):
            raise PluginFault(
                f"{name!r} is not a valid name of a metric: use lower-case letters, digits and _"
            )
        if name not in self._metrics:
            metric = kind(
                self._prefix + name, documentation, labels, registry=self._registry, **options
            )
            self._metrics[name] = tuple(labels), metric
        existing_labels, existing = self._metrics[name]
        if type(existing) is not kind or existing_labels != tuple(labels):
            raise PluginFault(
                f"The metric {name} exists already, with another kind or other labels"
            )
        found: M = existing
        return found


class Metrics:
    """Metrics of one service. One process may have several services, each with its own metrics.

    Args:
        monotonic: Returns the time of a monotonic clock, in seconds.
        folder: The folder in which several processes keep their values, which are all exported.
            None if the values are in the memory of this process.
    """

    def __init__(
        self, *, monotonic: Callable[[], float] = time.monotonic, folder: Path | None = None
    ) -> None:
        self.registry = CollectorRegistry()
        self._exported = MetricFiles(folder).registry() if folder else self.registry
        self._monotonic = monotonic
        self._exposition = b""
        self._exposition_time = float("-inf")
        self._plugins: dict[str, PluginMetrics] = {}
        self.requests = Counter(
            "datalayer_stripe_requests",
            "HTTP requests, counted when they are answered.",
            ["method", "route", "status"],
            registry=self.registry,
        )
        self.request_seconds = Histogram(
            "datalayer_stripe_request_seconds",
            "Time from the headers of a request to its response, in seconds.",
            ["method", "route"],
            buckets=_BUCKETS,
            registry=self.registry,
        )
        self.requests_in_flight = Gauge(
            "datalayer_stripe_requests_in_flight",
            "HTTP requests in flight.",
            registry=self.registry,
            multiprocess_mode="livesum",
        )
        self.body_bytes = Gauge(
            "datalayer_stripe_body_bytes",
            "Size of the request bodies in memory, in bytes.",
            registry=self.registry,
            multiprocess_mode="livesum",
        )
        self.streams = Gauge(
            "datalayer_stripe_streams",
            "Open streams of balance and plan changes.",
            registry=self.registry,
            multiprocess_mode="livesum",
        )
        self.deliveries = Counter(
            "datalayer_stripe_deliveries",
            "Verified deliveries, by event type and outcome (processed, deferred, "
            "duplicate, ignored, rejected, failed, overloaded).",
            ["type", "outcome"],
            registry=self.registry,
        )
        self.events_open = Gauge(
            "datalayer_stripe_events_open",
            "Events that a plugin failed or rejected and has not finished since. All processes, "
            "counted once a minute.",
            ["status", "plugin"],
            registry=self.registry,
            multiprocess_mode="livemax",
        )
        self.deliveries_in_flight = Gauge(
            "datalayer_stripe_deliveries_in_flight",
            "Deliveries in flight.",
            registry=self.registry,
            multiprocess_mode="livesum",
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
            "Deferred jobs that are not finished, of all processes.",
            registry=self.registry,
            multiprocess_mode="livemax",
        )
        self.reconcile_last_success = Gauge(
            "datalayer_stripe_reconcile_last_success_timestamp_seconds",
            "Start time of the last successful periodic reconciliation of any process, in epoch "
            "seconds. 0 before the first one.",
            registry=self.registry,
            multiprocess_mode="max",
        )
        self.stripe_calls = Counter(
            "datalayer_stripe_stripe_calls",
            "Calls to Stripe's API, by operation and outcome (ok, or the kind of error).",
            ["operation", "outcome"],
            registry=self.registry,
        )
        self.stripe_seconds = Histogram(
            "datalayer_stripe_stripe_call_seconds",
            "Duration of a call to Stripe's API, including its retries, in seconds.",
            ["operation"],
            buckets=_BUCKETS,
            registry=self.registry,
        )

    def of_plugin(self, name: str) -> PluginMetrics:
        """Return the metrics of a plugin, the same object at each call."""
        found = self._plugins.get(name)
        if found is None:
            found = self._plugins[name] = PluginMetrics(self.registry, name)
        return found

    def exposition(self) -> bytes:
        """Return the metrics in the text format of Prometheus. They may be CACHE_SECONDS old."""
        now = self._monotonic()
        if now - self._exposition_time >= CACHE_SECONDS:
            self._exposition, self._exposition_time = generate_latest(self._exported), now
        return self._exposition
