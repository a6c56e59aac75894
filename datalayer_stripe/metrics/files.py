"""Keep the values of metrics in files, so that each of several processes exports those of all.

This is the multiprocess mode of prometheus-client. Each process writes files of its own in one
folder, and an export adds up the files of all processes.
https://prometheus.github.io/client_python/multiprocess/
"""

import os
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from prometheus_client import CollectorRegistry, Metric, values
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead
from prometheus_client.registry import Collector

# prometheus-client finds the folder by this variable when a value is created.
_FOLDER_VARIABLE = "PROMETHEUS_MULTIPROC_DIR"

_PID_FILE = "process_{}.pid"


def keep_values_in_files(folder: Path, process_number: int) -> None:
    """Keep the values of all metrics that this process creates from now on in files.

    The files are named by the number of the process and not by its id. So a process that replaces
    a dead one continues its counters, and the number of files stays the same.

    Args:
        folder: The folder of all processes.
        process_number: The number of this process. No other running process may have it.
    """
    pid_file = folder / _PID_FILE.format(process_number)
    pid_file.write_text(str(os.getpid()), encoding="ascii")
    os.environ[_FOLDER_VARIABLE] = str(folder)
    values.ValueClass = values.MultiProcessValue(lambda: process_number)  # type: ignore[no-untyped-call]


def forget_dead_process(folder: Path, process_number: int) -> None:
    """Remove the gauges that describe a running process, such as its requests in flight.

    The metrics of the operating system's process are no longer exported either.

    Args:
        folder: The folder of all processes.
        process_number: The number of the process that has ended.
    """
    (folder / _PID_FILE.format(process_number)).unlink(missing_ok=True)
    mark_process_dead(process_number, str(folder))  # type: ignore[no-untyped-call]


class MetricFiles(Collector):
    """Collector of the metrics in the files of all processes.

    Args:
        folder: The folder of the files.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def collect(self) -> Iterable[Metric]:
        """Return the metrics, added up over the processes."""
        files = [str(path) for path in self._folder.glob("*.db") if _is_readable(path)]
        merged: Iterable[Metric] = MultiProcessCollector.merge(files)  # type: ignore[no-untyped-call]
        return merged


def exported_registry(folder: Path) -> CollectorRegistry:
    """Return a registry that exports the metrics in the files of all processes.

    Args:
        folder: The folder of all processes.
    """
    registry = CollectorRegistry()
    registry.register(MetricFiles(folder))
    return registry


def running_processes(folder: Path) -> dict[str, int]:
    """Return the process id of each running process, by its number.

    Args:
        folder: The folder of all processes.
    """
    found = {}
    for path in sorted(folder.glob(_PID_FILE.format("*"))):
        with suppress(FileNotFoundError, ValueError):  # the process has just ended or started
            found[path.stem.removeprefix("process_")] = int(path.read_text(encoding="ascii"))
    return found


def _is_readable(path: Path) -> bool:
    """Return whether the file has values: it has none for a moment after its creation."""
    try:
        return path.stat().st_size > 0
    except FileNotFoundError:  # the supervisor has removed the gauges of a dead process
        return False
