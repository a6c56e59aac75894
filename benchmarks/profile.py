"""Profile the service under load with py-spy, and sum the samples by part of the program."""

import re
import shutil
import subprocess
import sys
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from benchmarks.bench import Bench
from benchmarks.measure import measure, prepared_requests
from benchmarks.scenarios import CONCURRENT
from benchmarks.systems import service

_SECONDS = 8
_SAMPLES_PER_SECOND = 200

_PLACES = (
    re.compile(r"site-packages/(?P<part>[^/.]+)"),
    re.compile(r"(?P<part>datalayer_stripe/[^/.]+)"),
    re.compile(r"(?P<part>plugins)/"),
    re.compile(r"lib/python3\.\d+/(?P<part>[^/.]+)"),
)


@dataclass(frozen=True)
class Profile:
    """Where the processor time of the service goes.

    Attributes:
        parts: The share of the samples by package or module, the largest first.
        functions: The share by function, the largest first.
        note: Why there is no profile; empty if there is one.
    """

    parts: list[tuple[str, float]]
    functions: list[tuple[str, float]]
    note: str = ""


def profile(bench: Bench) -> Profile:
    """Profile the service with many connections."""
    spy = shutil.which("py-spy") or shutil.which("py-spy", path=str(Path(sys.executable).parent))
    if spy is None:
        return Profile([], [], "Not measured: py-spy is not installed.")
    output = bench.folder / "profile.txt"
    with (
        service(bench.mongod, bench.folder, "profiled") as system,
        prepared_requests(bench.folder, "profile", seconds=_SECONDS + 2) as requests,
        prepared_requests(bench.folder, "profilewarm", seconds=1) as warm,
    ):
        measure(system, warm, connections=CONCURRENT, seconds=1)
        command = [spy, "record", "--pid", str(system.pid), "--format", "raw", "--full-filenames"]
        command += ["--gil"]  # Without it, threads that wait count, too.
        command += ["--duration", str(_SECONDS), "--rate", str(_SAMPLES_PER_SECOND)]
        with subprocess.Popen(
            [*command, "--output", str(output)], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
        ) as recorder:
            measure(system, requests, connections=CONCURRENT, seconds=_SECONDS + 1)
            _, error = recorder.communicate(timeout=60)
    if recorder.returncode != 0:
        last = error.decode(errors="replace").strip().splitlines()[-1:]
        return Profile([], [], f"Not measured: py-spy failed: {''.join(last)}")
    return summarize(output.read_text())


def summarize(samples: str) -> Profile:
    """Return the shares of parts and functions.

    A sample counts for the innermost Python frame, so compiled code counts for its caller.

    Args:
        samples: Lines of `outer frame;…;inner frame count`, as py-spy writes them.
    """
    parts: Counter[str] = Counter()
    functions: Counter[str] = Counter()
    for line in samples.splitlines():
        stack, _, count = line.rpartition(" ")
        name, _, place = stack.rpartition(";")[2].partition(" (")
        part = part_of(place)
        parts[part] += int(count)
        functions[f"{name} ({part})"] += int(count)
    total = sum(parts.values()) or 1
    return Profile(
        [(part, count / total) for part, count in parts.most_common()],
        [(function, count / total) for function, count in functions.most_common()],
    )


def part_of(place: str) -> str:
    """Return the package or module that a file belongs to."""
    for pattern in _PLACES:
        if found := pattern.search(place):
            return found["part"].replace("/", ".")
    return "other"
