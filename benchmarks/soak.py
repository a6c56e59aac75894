"""Load the service for minutes, and watch its rate and memory."""

from benchmarks.bench import Bench
from benchmarks.measure import Measurement, measure, prepared_requests
from benchmarks.processes import memory_mib
from benchmarks.rounds import Case, show, warm_up
from benchmarks.scenarios import CONCURRENT
from benchmarks.systems import service
from benchmarks.tables import table

# A signature lasts 300 seconds, so each part has requests of its own.
_PART_SECONDS = 30


def soak(bench: Bench, seconds: int) -> str:
    """Load the service and return a table. The books are checked after each part."""
    found: list[Measurement] = []
    with service(bench.mongod, bench.folder, "soak") as system:
        count = int(warm_up(bench.folder, "soak", [system]) * _PART_SECONDS)
        memory = memory_mib(system.pid)
        for number in range(max(1, seconds // _PART_SECONDS)):
            with prepared_requests(bench.folder, f"soak{number}", count=count) as requests:
                measured = measure(system, requests, connections=CONCURRENT, seconds=_PART_SECONDS)
            show(Case(f"soak, part {number + 1}", system, CONCURRENT), measured)
            found.append(measured)
    return soak_table(found, memory)


def soak_table(found: list[Measurement], memory: float) -> str:
    """Return a table with the first and the last part, and one for every minute between.

    Args:
        found: The measurements of the parts.
        memory: The memory of the server before the first part, in MiB.
    """
    step = max(1, 60 // _PART_SECONDS)
    numbers = sorted({0, len(found) - 1, *range(step - 1, len(found), step)})
    rows = [
        [
            f"{(number + 1) * _PART_SECONDS} s",
            f"{found[number].rate:,.0f}",
            f"{found[number].p99:.1f}",
            f"{found[number].server_mib:.0f}",
            f"{found[number].database_mib:.0f}",
        ]
        for number in numbers
    ]
    rows.insert(0, ["start", "–", "–", f"{memory:.0f}", "–"])
    heads = ["until", "events/s", "p99, ms", "server memory, MiB", "database memory, MiB"]
    return table(heads, rows) + "\nAfter each 30 seconds the books were right.\n"
