"""Metrics of the Python process: `process_*` and `python_*`.

`process_*` is read from /proc, which Linux has:
https://prometheus.github.io/client_python/collector/
"""

import gc
from collections.abc import Iterable
from functools import partial
from pathlib import Path

from prometheus_client import CollectorRegistry, Counter, Metric
from prometheus_client.platform_collector import PlatformCollector
from prometheus_client.process_collector import ProcessCollector
from prometheus_client.registry import Collector

from .files import running_processes


def export_process(registry: CollectorRegistry, folder: Path | None) -> None:
    """Export what describes the Python interpreter and the process, or each of several processes.

    Args:
        registry: The registry that is exported.
        folder: The folder of all processes; None if there is only this one.
    """
    PlatformCollector(registry=registry)
    if folder is None:
        ProcessCollector(registry=registry)
    else:
        registry.register(ProcessesCollector(folder))


class ProcessesCollector(Collector):
    """Collector of `process_*` of several processes, each with its number as the label `pid`.

    The process that answers reads /proc for all of them. So a process that hangs is exported, too.

    Args:
        folder: The folder of all processes.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def collect(self) -> Iterable[Metric]:
        """Return the metrics of all running processes."""
        families: dict[str, Metric] = {}
        for number, pid in running_processes(self._folder).items():
            for found in ProcessCollector(pid=partial(int, pid), registry=None).collect():
                family = families.setdefault(
                    found.name, Metric(found.name, found.documentation, found.type)
                )
                for sample in found.samples:
                    family.add_sample(sample.name, {"pid": number}, sample.value)
        return families.values()


class GarbageCollections:
    """Counters of Python's garbage collector, with the names of prometheus-client's own.

    prometheus-client reads the values at the export, in the process that answers. These are
    counters, so that `serve --processes` adds up those of all processes.

    Args:
        registry: The registry of the service's metrics.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        self._counters = {
            key: Counter(f"python_gc_{name}", documentation, ["generation"], registry=registry)
            for key, name, documentation in (
                ("collected", "objects_collected", "Objects collected during gc."),
                ("uncollectable", "objects_uncollectable", "Uncollectable objects found by gc."),
                ("collections", "collections", "Times that this generation was collected."),
            )
        }
        self._counted = [dict.fromkeys(self._counters, 0) for _ in gc.get_stats()]
        self.update()

    def update(self) -> None:
        """Count what the garbage collector has done since the last call."""
        for generation, stats in enumerate(gc.get_stats()):
            counted = self._counted[generation]
            for key, counter in self._counters.items():
                counter.labels(str(generation)).inc(stats[key] - counted[key])
                counted[key] = stats[key]
