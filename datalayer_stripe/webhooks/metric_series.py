"""Create the series of counters at 0, before anything is counted.

Prometheus computes an increase from two samples of a series. A series whose first sample is 1 has
no increase, so an alert on it does not fire.
https://prometheus.io/docs/practices/instrumentation/#avoid-missing-metrics
"""

from itertools import product

from ..metrics import Metrics
from ..plugin_api.registry import Registry
from ..stripe_api.errors import CALL_OUTCOMES
from ..stripe_api.transport import OPERATIONS
from .outcome import Outcome

_JOB_OUTCOMES = (
    Outcome.PROCESSED,
    Outcome.DEFERRED,
    Outcome.DUPLICATE,
    Outcome.REJECTED,
    Outcome.FAILED,
)

TASKS = ("worker", "open_events")
"""The periodic tasks of each process, as the label `task`."""


def create_series(metrics: Metrics, registry: Registry) -> None:
    """Create each series whose labels are known when the service starts.

    Args:
        metrics: The metrics of the service.
        registry: Its plugins.
    """
    # Event types that no plugin runs on share the label `other`.
    for event_type, outcome in product((*registry.types, "other"), Outcome):
        metrics.deliveries.labels(event_type, outcome.value)
    for task in TASKS:
        metrics.task_last_success.labels(task)
    for plugin in registry.plugins:
        metrics.run_seconds.labels(plugin.name)
        for outcome in _JOB_OUTCOMES:  # any plugin may defer an event by `Defer`
            metrics.jobs.labels(plugin.name, outcome.value)
    for operation, result in product(OPERATIONS, CALL_OUTCOMES):
        metrics.stripe_calls.labels(operation, result)
