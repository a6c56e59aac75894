"""Metrics of a service."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Literal, get_args

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from .exposition import Exposition
from .files import exported_registry
from .plugin_metrics import PluginMetrics
from .process import GarbageCollections, export_process

# In seconds. Stripe's API answers in tenths of a second, the service's routes in milliseconds.
_BUCKETS = (0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0)

# In seconds. A connection of the pool is usually free at once.
_WAIT_BUCKETS = (0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0)

Pool = Literal["service", "plugins"]
"""A connection pool of a process: that of the service, or that of the plugins' own collections."""


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
        exported = exported_registry(folder) if folder else self.registry
        export_process(exported, folder)
        self._exposition = Exposition(exported, monotonic)
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
        self.oldest_event_age = Gauge(
            "datalayer_stripe_oldest_unfinished_event_age_seconds",
            "Time since the oldest event was received that is failed, rejected or deferred, in "
            "seconds. 0 if there is none. All processes, measured once a minute.",
            ["status"],
            registry=self.registry,
            multiprocess_mode="livemax",
        )
        self.refusals = Counter(
            "datalayer_stripe_refusals",
            "Requests that were refused before they were processed, by reason.",
            ["reason"],
            registry=self.registry,
        )
        self.deliveries_in_flight = Gauge(
            "datalayer_stripe_deliveries_in_flight",
            "Deliveries in flight.",
            registry=self.registry,
            multiprocess_mode="livesum",
        )
        self.run_seconds = Histogram(
            "datalayer_stripe_run_seconds",
            "Duration of a plugin's run on an event, with its commit, in seconds.",
            ["plugin"],
            buckets=_BUCKETS,
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
        self.task_last_success = Gauge(
            "datalayer_stripe_task_last_success_timestamp_seconds",
            "Time of the last success of a periodic task of each process, in epoch seconds; the "
            "earliest of all processes. 0 before the first one.",
            ["task"],
            registry=self.registry,
            multiprocess_mode="livemin",
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
        self.mongodb_pool_wait = Histogram(
            "datalayer_stripe_mongodb_pool_wait_seconds",
            "Time that a call to MongoDB waits for a connection, in seconds.",
            ["pool"],
            buckets=_WAIT_BUCKETS,
            registry=self.registry,
        )
        self.mongodb_pool_failures = Counter(
            "datalayer_stripe_mongodb_pool_failures",
            "Calls to MongoDB that got no connection.",
            ["pool"],
            registry=self.registry,
        )
        for pool in get_args(Pool):
            self.mongodb_pool_wait.labels(pool)
            self.mongodb_pool_failures.labels(pool)
        self.event_loop_lag = Histogram(
            "datalayer_stripe_event_loop_lag_seconds",
            "Delay of a timer of the event loop, measured twice a second, in seconds.",
            buckets=_BUCKETS,
            registry=self.registry,
        )
        self.garbage_collections = GarbageCollections(self.registry)

    def of_plugin(self, name: str) -> PluginMetrics:
        """Return the metrics of a plugin, the same object at each call."""
        found = self._plugins.get(name)
        if found is None:
            found = self._plugins[name] = PluginMetrics(self.registry, name)
        return found

    def exposition(self) -> bytes:
        """Return the metrics in the text format of Prometheus. They may be CACHE_SECONDS old."""
        return self._exposition.text()
