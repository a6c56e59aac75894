"""Metrics that a plugin creates for itself."""

import re
from collections.abc import Callable, Sequence
from typing import Any, Literal, TypeVar

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from ..errors import PluginFault

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
