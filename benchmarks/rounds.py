"""Measure several cases in turn, in several rounds."""

import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.measure import Measurement, measure, prepared_requests
from benchmarks.requests import ACCOUNTS
from benchmarks.summary import Spread, ratio, spread
from benchmarks.systems import System

_WARM_UP_REQUESTS = 20_000
# With more connections and everything imported, a system is faster than during its warm-up.
_HEADROOM = 3
_MIN_RATE = 3_000


@dataclass(frozen=True)
class Case:
    """A system under a load.

    Attributes:
        name: The name in the results.
        system: The system.
        connections: The number of connections.
        accounts: The number of accounts that the events are for.
    """

    name: str
    system: System
    connections: int
    accounts: int = ACCOUNTS


class Results:
    """The measurements of all cases by name and number of connections, one for each round."""

    def __init__(self) -> None:
        self._found: dict[tuple[str, int], list[Measurement]] = {}

    def add(self, name: str, connections: int, measurement: Measurement) -> None:
        """Add a measurement of the next round."""
        self._found.setdefault((name, connections), []).append(measurement)

    @property
    def names(self) -> list[str]:
        """The names, in the order of their first measurement."""
        return list(dict.fromkeys(name for name, _ in self._found))

    @property
    def connections(self) -> list[int]:
        """The numbers of connections, sorted."""
        return sorted({connections for _, connections in self._found})

    def has(self, name: str, connections: int) -> bool:
        """Return whether a case was measured."""
        return (name, connections) in self._found

    def values(self, name: str, connections: int, attribute: str) -> list[float]:
        """Return an attribute of the case's measurements, by round."""
        return [getattr(one, attribute) for one in self._found[name, connections]]

    def spread(self, name: str, connections: int, attribute: str) -> Spread:
        """Return the spread of an attribute."""
        return spread(self.values(name, connections, attribute))

    def ratio(self, name: str, reference: str, connections: int, attribute: str = "rate") -> Spread:
        """Return the spread of the ratio of an attribute to that of another case."""
        return ratio(
            self.values(name, connections, attribute),
            self.values(reference, connections, attribute),
        )


@dataclass(frozen=True)
class Rounds:
    """How the cases are measured.

    Attributes:
        folder: Where the requests are written.
        count: The number of rounds.
        seconds: The duration of each measurement.
    """

    folder: Path
    count: int
    seconds: int

    def run(self, label: str, cases: Sequence[Case]) -> Results:
        """Measure each case once in each round, in the reverse order in every second round.

        Cases with the same connections and accounts are sent the same events, so their systems
        must have different databases.

        Args:
            label: A part of the ids of the events, different for each call.
            cases: The cases.

        Raises:
            LoadError: An answer was not a 2xx.
            BooksError: Credits were lost or added twice.
        """
        systems = {case.system.pid: case.system for case in cases}
        rate = warm_up(self.folder, label, systems.values())
        found = Results()
        for number in range(self.count):
            for alike in _alike(cases, backwards=number % 2 == 1):
                connections, accounts = alike[0].connections, alike[0].accounts
                run = f"{label}r{number}c{connections}a{accounts}"
                with prepared_requests(
                    self.folder, run, count=int(self.seconds * rate), accounts=accounts
                ) as requests:
                    for case in alike:
                        measured = measure(
                            case.system, requests, connections=connections, seconds=self.seconds
                        )
                        found.add(case.name, connections, measured)
                        show(case, measured)
        return found


def _alike(cases: Sequence[Case], *, backwards: bool) -> list[list[Case]]:
    """Return the cases in groups with the same connections and accounts."""
    groups: dict[tuple[int, int], list[Case]] = {}
    for case in reversed(cases) if backwards else cases:
        groups.setdefault((case.connections, case.accounts), []).append(case)
    return list(groups.values())


def warm_up(folder: Path, label: str, systems: Iterable[System]) -> float:
    """Run each system for a second, so that it has imported and connected everything.

    Args:
        folder: Where the requests are written.
        label: A part of the ids of the events.
        systems: The systems.

    Returns:
        A rate that none of them exceeds later, for the number of requests to prepare.
    """
    with prepared_requests(folder, f"{label}warm", count=_WARM_UP_REQUESTS) as requests:
        rates = [measure(one, requests, connections=16, seconds=1).rate for one in systems]
    return max(_MIN_RATE, _HEADROOM * max(rates))


def show(case: Case, measured: Measurement) -> None:
    """Print a measurement."""
    print(
        f"{case.name:<32}{case.connections:>4} connections{measured.rate:>8,.0f}/s"
        f"{measured.p50:>8.1f} ms{measured.p99:>8.1f} ms"
        f"  server {measured.server_ms:.2f} ms, database {measured.database_ms:.2f} ms per event",
        file=sys.stderr,
        flush=True,
    )
