"""Create counter series at 0, before anything is counted.

Prometheus computes an increase from two samples of a series: a series whose first sample is 1 has
no increase, and an alert on it never fires.
https://prometheus.io/docs/practices/instrumentation/#avoid-missing-metrics
"""

from itertools import product

from ..metrics import Metrics
from ..plugin_api.registry import Registry
from ..stripe_api.client import OPERATIONS
from ..stripe_api.errors import CALL_OUTCOMES
from .outcome import Outcome

_JOB_OUTCOMES = (Outcome.PROCESSED, Outcome.DUPLICATE, Outcome.REJECTED, Outcome.FAILED)


def create_series(metrics: Metrics, registry: Registry) -> None:
    """Create every series whose labels are known when the service starts."""
    # Types that no plugin runs on share the label `other`.
    for event_type, outcome in product((*registry.types, "other"), Outcome):
        metrics.deliveries.labels(event_type, outcome.value)
    for plugin in registry.plugins:
        if plugin.defers:
            for outcome in _JOB_OUTCOMES:
                metrics.jobs.labels(plugin.name, outcome.value)
    for operation, result in product(OPERATIONS, CALL_OUTCOMES):
        metrics.stripe_calls.labels(operation, result)
