"""A plugin's own figures in `/metrics`: prometheus.github.io/client_python/instrumenting."""

import re
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from .errors import PluginFault

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
