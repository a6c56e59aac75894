"""The scenarios beside the main comparison, each on services and databases of its own."""

import importlib.util
import os
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.bench import Bench
from benchmarks.burst import open_burst
from benchmarks.processes import SERVER_CORE
from benchmarks.requests import event_bodies
from benchmarks.rounds import Case, Results
from benchmarks.summary import Spread, spread
from benchmarks.systems import (
    CEILING,
    GROUP_COMMIT,
    ONE_TRANSACTION,
    System,
    reference,
    service,
)

CONCURRENT = 64
"""Connections of the scenarios. One account may have half of the free capacity of 256."""

COPIES = 50
_BURSTS = 40

SPREAD_ACCOUNTS = "spread accounts"
HOT_ACCOUNT = "one hot account"
NO_EVENTS = "no stored events"
STORED_EVENTS = "stored events"
ONE_PROCESS = "one process"
TWO_PROCESSES = "two processes"
MOTOR = "motor"
PYMONGO = "pymongo"
UVLOOP = "uvloop"
ASYNCIO = "asyncio's loop"

# A folder with a module `uvloop` that cannot be imported, as if uvloop were not installed.
_WITHOUT_UVLOOP = Path(__file__).with_name("without_uvloop")


@dataclass(frozen=True)
class Comparison:
    """A scenario that compares one case with another.

    Attributes:
        title: What is compared.
        results: What was measured; None if the scenario does not apply.
        name: The case.
        reference: The case that it is compared with.
        note: What a reader must know, or why the scenario does not apply.
    """

    title: str
    results: Results | None
    name: str
    reference: str
    note: str = ""


@dataclass(frozen=True)
class Bursts:
    """Milliseconds until all copies of one event are answered, by kind of event."""

    milliseconds: dict[str, Spread] = field(default_factory=dict)


def main_comparison(bench: Bench, peers: Sequence[System] = ()) -> Results:
    """Compare the service with the references, and with peers that run."""
    with ExitStack() as stack:
        systems = [stack.enter_context(service(bench.mongod, bench.folder, "service"))]
        systems += [
            stack.enter_context(reference(bench.mongod, bench.folder, name))
            for name in (CEILING, ONE_TRANSACTION, GROUP_COMMIT)
        ]
        return bench.rounds.run(
            "main",
            [
                Case(system.name, system, connections)
                for connections in bench.connections
                for system in (*systems, *peers)
            ],
        )


def hot_account(bench: Bench) -> Comparison:
    """Compare deliveries for one account with deliveries for many."""
    with service(bench.mongod, bench.folder, "hot") as system:
        results = bench.rounds.run(
            "hot",
            [
                Case(HOT_ACCOUNT, system, CONCURRENT, accounts=1),
                Case(SPREAD_ACCOUNTS, system, CONCURRENT),
            ],
        )
    return Comparison("One hot account", results, HOT_ACCOUNT, SPREAD_ACCOUNTS)


def stored_events(bench: Bench) -> Comparison:
    """Compare a database with many stored events with an empty one."""
    count = bench.stored_events
    with (
        service(bench.mongod, bench.folder, "empty") as empty,
        service(bench.mongod, bench.folder, "stored", stored_events=count) as stored,
    ):
        results = bench.rounds.run(
            "stored",
            [Case(STORED_EVENTS, stored, CONCURRENT), Case(NO_EVENTS, empty, CONCURRENT)],
        )
    title = f"{count:,} stored events"
    return Comparison(title, results, STORED_EVENTS, NO_EVENTS)


def two_processes(bench: Bench) -> Comparison:
    """Compare two processes of the service with one."""
    title = "Two processes"
    own = (os.cpu_count() or 1) > 2
    second = 2 if own else 1
    with (
        service(bench.mongod, bench.folder, "one") as one,
        service(
            bench.mongod,
            bench.folder,
            "two",
            options=("--processes", "2"),
            core=f"{SERVER_CORE},{second}",
        ) as both,
    ):
        results = bench.rounds.run(
            "processes",
            [Case(TWO_PROCESSES, both, CONCURRENT), Case(ONE_PROCESS, one, CONCURRENT)],
        )
    note = (
        "Each process has a core of its own, and so has the database."
        if own
        else "This machine has two cores: the second process shares its core with the database and "
        "the load generator, so that this shows the least that a second process can add."
    )
    return Comparison(title, results, TWO_PROCESSES, ONE_PROCESS, note)


def drivers(bench: Bench) -> Comparison:
    """Compare the two MongoDB drivers."""
    with ExitStack() as stack:
        systems = {
            name: stack.enter_context(
                service(
                    bench.mongod,
                    bench.folder,
                    f"driver-{name}",
                    variables={"DATALAYER_STRIPE_MONGODB_DRIVER": name},
                )
            )
            for name in (PYMONGO, MOTOR)
        }
        results = bench.rounds.run(
            "driver",
            [
                Case(name, system, connections)
                for connections in (1, CONCURRENT)
                for name, system in systems.items()
            ],
        )
    return Comparison("MongoDB drivers", results, PYMONGO, MOTOR)


def event_loops(bench: Bench) -> Comparison:
    """Compare uvloop with asyncio's own event loop."""
    title = "Event loops"
    if importlib.util.find_spec("uvloop") is None:
        return Comparison(title, None, UVLOOP, ASYNCIO, "Not measured: uvloop is not installed.")
    without = {"PYTHONPATH": str(_WITHOUT_UVLOOP)}
    with (
        service(bench.mongod, bench.folder, "uvloop") as fast,
        service(bench.mongod, bench.folder, "asyncio", variables=without) as slow,
    ):
        results = bench.rounds.run(
            "loop",
            [
                Case(name, system, connections)
                for connections in (1, CONCURRENT)
                for name, system in ((UVLOOP, fast), (ASYNCIO, slow))
            ],
        )
    return Comparison(title, results, UVLOOP, ASYNCIO)


def duplicates(bench: Bench) -> Bursts:
    """Measure copies of one event that arrive at once."""
    found: dict[str, list[float]] = {"new": [], "done": [], "ceiling": []}
    with (
        service(bench.mongod, bench.folder, "duplicates") as system,
        reference(bench.mongod, bench.folder, CEILING) as ceiling,
        open_burst(system.url, COPIES) as ours,
        open_burst(ceiling.url, COPIES) as checked,
    ):
        for number, body in enumerate(event_bodies("copies", _BURSTS + 1)):
            first, second = ours.send(body), ours.send(body)
            alone = checked.send(body)
            if number:  # The first warms up.
                for name, value in (("new", first), ("done", second), ("ceiling", alone)):
                    found[name].append(value)
        assert system.books is not None
        system.books.check(answered=_BURSTS + 1, in_flight=0)
    return Bursts({name: spread(values) for name, values in found.items()})
