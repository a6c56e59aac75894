"""Measure one system in one run: rate, latency, processor time and memory."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.processes import cpu_seconds, memory_mib, tail, wait_until_idle
from benchmarks.requests import ACCOUNTS, event_bodies, write_requests
from benchmarks.systems import System
from benchmarks.wrk import Load, LoadError, run_wrk


@dataclass(frozen=True)
class Measurement:
    """What one run of one system has shown.

    Attributes:
        rate: Accepted events per second.
        p50: The median latency in milliseconds.
        p99: The 99th percentile of the latency in milliseconds.
        server_ms: Milliseconds of processor time of the server per event.
        database_ms: Milliseconds of processor time of the database per event.
        server_mib: Resident memory of the server afterwards.
        database_mib: Resident memory of the database afterwards.
    """

    rate: float
    p50: float
    p99: float
    server_ms: float
    database_ms: float
    server_mib: float
    database_mib: float


@contextmanager
def prepared_requests(
    folder: Path, run: str, *, count: int, accounts: int = ACCOUNTS
) -> Iterator[Path]:
    """Write requests for a run, and delete them afterwards.

    Args:
        folder: Where the file is written.
        run: A part of the ids of the events.
        count: The number of requests: more than can be answered. The rest is not sent.
        accounts: The number of accounts that the events are for.
    """
    path = folder / f"{run}.requests"
    write_requests(path, event_bodies(run, count, accounts=accounts))
    try:
        yield path
    finally:
        path.unlink()


def measure(system: System, requests: Path, *, connections: int, seconds: int) -> Measurement:
    """Run a load on a system, check its books, and return what was measured.

    Raises:
        LoadError: An answer was not a 2xx.
        BooksError: Credits were lost or added twice.
    """
    server, database = cpu_seconds(system.pid), _database_cpu(system)
    try:
        load = run_wrk(system.url, requests, connections=connections, seconds=seconds)
    except LoadError as error:
        raise LoadError(f"{system.name}: {error}\n{tail(system.log)}") from None
    wait_until_idle(*{system.pid, system.database_pid or system.pid})
    server, database = cpu_seconds(system.pid) - server, _database_cpu(system) - database
    events = _check(system, load, connections)
    return Measurement(
        rate=load.rate,
        p50=load.p50,
        p99=load.p99,
        server_ms=server / events * 1e3,
        database_ms=database / events * 1e3,
        server_mib=memory_mib(system.pid),
        database_mib=0.0 if system.database_pid is None else memory_mib(system.database_pid),
    )


def _check(system: System, load: Load, connections: int) -> int:
    """Return the number of events that the system has processed."""
    if system.books is None:
        return load.answers
    return system.books.check(answered=load.answers, in_flight=connections)


def _database_cpu(system: System) -> float:
    return 0.0 if system.database_pid is None else cpu_seconds(system.database_pid)
