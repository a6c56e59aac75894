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
from benchmarks.rounds import warm_up
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

_CALLERS = ("datalayer_stripe", "plugins", "tornado")


@dataclass(frozen=True)
class Part:
    """A part of the program.

    Attributes:
        name: The package or module.
        alone: The share of the samples in its own code.
        with_calls: The share in its own code and in the libraries that it calls.
    """

    name: str
    alone: float
    with_calls: float


@dataclass(frozen=True)
class Profile:
    """Where the processor time of the service goes.

    Attributes:
        parts: The parts, the largest first.
        functions: The share of the samples by function, the largest first.
        note: Why there is no profile; empty if there is one.
    """

    parts: list[Part]
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
        prepared_requests(
            bench.folder,
            "profile",
            count=int(warm_up(bench.folder, "profile", [system]) * (_SECONDS + 1)),
        ) as requests,
    ):
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

    A sample counts for the innermost Python frame, so compiled code counts for its caller. Samples
    of a library also count for the part of the service, or of Tornado, that has called it.

    Args:
        samples: Lines of `outer frame;…;inner frame count`, as py-spy writes them.
    """
    alone: Counter[str] = Counter()
    with_calls: Counter[str] = Counter()
    functions: Counter[str] = Counter()
    for line in samples.splitlines():
        stack, _, count = line.rpartition(" ")
        frames = [frame.partition(" (") for frame in reversed(stack.split(";"))]
        parts = [part_of(place) for _, _, place in frames]
        alone[parts[0]] += int(count)
        caller = next((part for part in parts if part.startswith(_CALLERS)), parts[0])
        with_calls[caller] += int(count)
        functions[f"{frames[0][0]} ({parts[0]})"] += int(count)
    total = sum(alone.values()) or 1
    names = sorted(alone | with_calls, key=lambda name: (with_calls[name], alone[name]))
    return Profile(
        [Part(name, alone[name] / total, with_calls[name] / total) for name in reversed(names)],
        [(function, count / total) for function, count in functions.most_common()],
    )


def part_of(place: str) -> str:
    """Return the package or module that a file belongs to."""
    for pattern in _PLACES:
        if found := pattern.search(place):
            return found["part"].replace("/", ".")
    return "other"
