"""Start pinned processes, and read their processor time and memory from /proc."""

import os
import signal
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

SERVER_CORE = 0
"""The core of the process that is measured. It shares it with nothing."""

LOAD_CORE = 1
"""The core of the database, the load generator and the benchmark itself."""

_TICKS = os.sysconf("SC_CLK_TCK")
_START_SECONDS = 60.0
_POLL_SECONDS = 0.05
_QUIET_POLLS = 5
_IDLE_SECONDS = 60.0


class BenchmarkError(Exception):
    """A process of the benchmark has failed."""


def pin_to_load_core() -> None:
    """Run this process and what it starts on the core of the load, unless told otherwise.

    Raises:
        BenchmarkError: This is not Linux, or it has one core only.
    """
    if not hasattr(os, "sched_setaffinity"):
        raise BenchmarkError("The benchmark reads /proc and pins processes: run it on Linux.")
    try:
        os.sched_setaffinity(0, {LOAD_CORE})
    except OSError:
        raise BenchmarkError("The benchmark needs two cores.") from None


def process_tree(pid: int) -> list[int]:
    """Return a process and its descendants."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and (fields := _stat(int(entry.name))):
            children.setdefault(int(fields[1]), []).append(int(entry.name))
    tree = [pid]
    for one in tree:
        tree += children.get(one, [])
    return tree


def cpu_seconds(pid: int) -> float:
    """Return the processor time of a process and its descendants, also those that have ended."""
    ticks = 0
    for one in process_tree(pid):
        if fields := _stat(one):
            ticks += sum(map(int, fields[11:15]))  # utime, stime, cutime and cstime, see proc(5)
    return ticks / _TICKS


def memory_mib(pid: int) -> float:
    """Return the resident memory of a process and its descendants, in MiB."""
    pages = 0
    for one in process_tree(pid):
        if fields := _stat(one):
            pages += int(fields[21])  # rss
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def _stat(pid: int) -> list[str] | None:
    """Return the fields of /proc/PID/stat after the name, or None if the process has ended."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    return text.rpartition(")")[2].split()


@contextmanager
def running(
    command: Sequence[str],
    environment: Mapping[str, str],
    log: Path,
    *,
    core: str = str(SERVER_CORE),
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a process on one core, or several, with its output in a file, until the block ends."""
    with log.open("wb") as output:
        process = subprocess.Popen(
            ["taskset", "-c", core, *command],
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    try:
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def wait_until_answered(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    """Wait until a server answers, with any status.

    Raises:
        BenchmarkError: It has ended, or does not answer. The message has the end of its log.
    """
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        try:
            urllib.request.urlopen(url, timeout=5).close()
        except urllib.error.HTTPError:
            return
        except OSError:
            time.sleep(_POLL_SECONDS)
        else:
            return
    raise BenchmarkError(f"{log.stem} has not started:\n{tail(log)}")


def wait_until_idle(*pids: int) -> None:
    """Wait until no thread of some processes runs or waits for a core, several times in a row.

    Their processor time does not tell it: on a busy machine it stands still while they wait.

    Raises:
        BenchmarkError: They are not idle after a minute.
    """
    deadline, quiet = time.monotonic() + _IDLE_SECONDS, 0
    while quiet < _QUIET_POLLS:
        if time.monotonic() > deadline:
            raise BenchmarkError("A server is still busy a minute after its load.")
        time.sleep(_POLL_SECONDS)
        quiet = 0 if any(map(_has_runnable_thread, pids)) else quiet + 1


def _has_runnable_thread(pid: int) -> bool:
    for one in process_tree(pid):
        for path in Path(f"/proc/{one}/task").glob("*/stat"):
            with suppress(OSError):  # The thread has ended.
                if path.read_text().rpartition(")")[2].split()[0] in "RD":
                    return True
    return False


def tail(log: Path) -> str:
    """Return the last lines of a log."""
    return "\n".join(log.read_text(errors="replace").splitlines()[-20:])
