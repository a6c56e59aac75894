"""Run wrk, the load generator, and read what it has measured."""

import json
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

SCRIPT = Path(__file__).with_name("load.lua")

# Beyond the duration, for answers that take long.
_GRACE_SECONDS = 30


class LoadError(Exception):
    """The load could not be generated, or an answer was not a 2xx."""


@dataclass(frozen=True)
class Load:
    """What wrk has measured in one run.

    Attributes:
        answers: The number of answers with a 2xx.
        seconds: The duration.
        p50: The median latency in milliseconds.
        p99: The 99th percentile of the latency in milliseconds.
    """

    answers: int
    seconds: float
    p50: float
    p99: float

    @property
    def rate(self) -> float:
        """Answers per second."""
        return self.answers / self.seconds


def find_wrk() -> str:
    """Return the path of wrk.

    Raises:
        LoadError: It is not installed.
    """
    path = shutil.which("wrk")
    if path is None:
        raise LoadError("wrk is not installed: apt-get install wrk")
    return path


def run_wrk(url: str, requests: Path, *, connections: int, seconds: int) -> Load:
    """Send the requests of a file, each once, and return what was measured.

    Args:
        url: Where to send them.
        requests: The file that :func:`.requests.write_requests` has written.
        connections: The number of connections, each with one request at a time.
        seconds: The duration.

    Raises:
        LoadError: An answer was not a 2xx, a connection broke, or the requests did not suffice.
    """
    command = [find_wrk(), "-t", "1", "-c", str(connections), "-d", f"{seconds}s"]
    command += ["--timeout", "20s", "-s", str(SCRIPT), url, "--", str(requests)]
    ended = subprocess.run(
        command, capture_output=True, text=True, timeout=seconds + _GRACE_SECONDS, check=False
    )
    if ended.returncode != 0:
        raise LoadError(f"wrk failed on {url}: {ended.stderr.strip() or ended.stdout.strip()}")
    return parse_output(ended.stdout)


def parse_output(text: str) -> Load:
    """Return what wrk has measured, from its output with `load.lua`.

    Raises:
        LoadError: An answer was not a 2xx, a connection broke, or there was no answer.
    """
    try:
        found = json.loads(text.strip().splitlines()[-1])
    except (IndexError, ValueError):
        raise LoadError(f"wrk has not reported: {text.strip()[-200:]}") from None
    for name in ("refused", "broken", "late"):
        if found[name]:
            raise LoadError(f"{found[name]} of {found['answers']} answers were {name}")
    if not found["answers"]:
        raise LoadError("there was no answer")
    return Load(
        answers=found["answers"],
        seconds=found["microseconds"] / 1e6,
        p50=found["p50"] / 1e3,
        p99=found["p99"] / 1e3,
    )
