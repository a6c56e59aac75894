"""What the supervisor knows of one process, and when it starts the process again."""

import subprocess
import time
from dataclasses import dataclass

MIN_BACKOFF = 0.5
"""Pause before a dead process is replaced, in seconds. It doubles if the replacement dies soon."""

MAX_BACKOFF = 30.0
"""The longest pause, in seconds."""

STABLE_SECONDS = 60.0
"""A process that has listened for this time does not count as one that died soon."""


@dataclass
class SupervisedProcess:
    """One of the processes. A replacement has the same number.

    Attributes:
        number: Its number, from 1.
        popen: The running process, or None.
        listening_since: When it has begun to listen, in seconds of the monotonic clock, or None.
        failed_at_start: Whether it ended before it listened.
        error: Why its last start has failed, for people.
        early_deaths: How often it has died soon after its start, without a stable run since.
        start_at: When it is started, in seconds of the monotonic clock.
    """

    number: int
    popen: subprocess.Popen[bytes] | None = None
    listening_since: float | None = None
    failed_at_start: bool = False
    error: str | None = None
    early_deaths: int = 0
    start_at: float = 0.0

    @property
    def is_starting(self) -> bool:
        """Whether it runs and does not listen yet."""
        return self.popen is not None and self.listening_since is None

    def schedule_start(self) -> float:
        """Schedule the start of this process, which does not run; return the seconds until then."""
        now, since = time.monotonic(), self.listening_since
        was_stable = since is not None and now - since >= STABLE_SECONDS
        self.failed_at_start = since is None
        self.listening_since = None
        self.early_deaths = 1 if was_stable else self.early_deaths + 1
        backoff = backoff_after(self.early_deaths)
        self.start_at = now + backoff
        return backoff


def backoff_after(early_deaths: int) -> float:
    """Return the seconds until a process is replaced.

    Args:
        early_deaths: How often in a row it has died soon after its start, at least 1.
    """
    factor: int = 2 ** min(early_deaths - 1, 20)
    return min(MIN_BACKOFF * factor, MAX_BACKOFF)
