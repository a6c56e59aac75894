"""Metrics of the Python process, and of several processes."""

import gc
import os
import subprocess
import sys
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.parser import text_string_to_metric_families

from datalayer_stripe.metrics import Metrics
from datalayer_stripe.metrics.files import forget_dead_process
from datalayer_stripe.metrics.process import GarbageCollections

linux = pytest.mark.skipif(sys.platform != "linux", reason="process_* is read from /proc")

Samples = dict[tuple[str, str], float]


def exported(metrics: Metrics, label: str) -> Samples:
    """Return the samples by name and the value of a label."""
    return {
        (sample.name, sample.labels.get(label, "")): sample.value
        for family in text_string_to_metric_families(metrics.exposition().decode())
        for sample in family.samples
    }


@linux
def test_one_process_exports_itself() -> None:
    found = exported(Metrics(), "pid")
    assert found["process_resident_memory_bytes", ""] > 1024 * 1024
    assert found["process_open_fds", ""] > 0
    assert found["python_info", ""] == 1


@linux
def test_each_of_several_processes_is_exported_until_its_end(tmp_path: Path) -> None:
    (tmp_path / "process_1.pid").write_text(str(os.getpid()))
    (tmp_path / "process_3.pid").write_text("")  # it is being written
    command = [sys.executable, "-c", "print('ready', flush=True); input()"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        other.stdout.readline()
        (tmp_path / "process_2.pid").write_text(str(other.pid))
        found = exported(Metrics(folder=tmp_path), "pid")
        for name in ("cpu_seconds_total", "start_time_seconds", "open_fds", "max_fds"):
            assert {pid for found_name, pid in found if found_name == f"process_{name}"} == {
                "1",
                "2",
            }
        memory = "process_resident_memory_bytes"
        assert found[memory, "1"] != found[memory, "2"]
        forget_dead_process(tmp_path, 2)
        assert (memory, "2") not in exported(Metrics(folder=tmp_path), "pid")
        other.communicate(b"\n", timeout=60)


def test_garbage_collections_are_counted_once() -> None:
    registry = CollectorRegistry()
    counted = GarbageCollections(registry)

    def value() -> float:
        return registry.get_sample_value("python_gc_collections_total", {"generation": "2"}) or 0.0

    gc.collect()
    counted.update()
    before = value()
    counted.update()
    assert value() == before
    gc.collect()
    counted.update()
    assert value() == before + 1 == gc.get_stats()[2]["collections"]
