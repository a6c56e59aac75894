"""Measure the service against reference servers: `make bench`."""

import statistics
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path

import click

from benchmarks.measure import Measurement, measure, prepared_requests
from benchmarks.processes import pin_to_load_core
from benchmarks.systems import (
    CEILING,
    GROUP_COMMIT,
    ONE_TRANSACTION,
    mongod,
    reference,
    service,
)


@click.command()
@click.option("--connections", default="1,16,64,256", show_default=True)
@click.option("--rounds", default=3, show_default=True)
@click.option("--seconds", default=3, show_default=True)
def main(connections: str, rounds: int, seconds: int) -> None:
    pin_to_load_core()
    levels = [int(one) for one in connections.split(",")]
    found: dict[tuple[str, int], list[Measurement]] = {}
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-")))
        database = stack.enter_context(mongod(folder))
        systems = [stack.enter_context(service(database, folder, "service"))]
        for name in (CEILING, ONE_TRANSACTION, GROUP_COMMIT):
            systems.append(stack.enter_context(reference(database, folder, name)))
        with prepared_requests(folder, "warm", seconds=1) as requests:
            for system in systems:
                measure(system, requests, connections=16, seconds=1)
        for number in range(rounds):
            for level in levels:
                with prepared_requests(folder, f"r{number}c{level}", seconds=seconds) as requests:
                    for system in systems:
                        one = measure(system, requests, connections=level, seconds=seconds)
                        found.setdefault((system.name, level), []).append(one)
                        print(
                            f"{system.name:<30} {level:>4} {one.rate:>7.0f}/s"
                            f" p50 {one.p50:>6.1f} p99 {one.p99:>6.1f} ms"
                            f" server {one.server_ms:.2f} db {one.database_ms:.2f} ms"
                            f" {one.server_mib:.0f} {one.database_mib:.0f} MiB",
                            file=sys.stderr,
                        )
                systems.reverse()
    for level in levels:
        own = statistics.median(one.rate for one in found[systems[0].name, level])
        names = sorted({name for name, _ in found})
        rates = {n: statistics.median(one.rate for one in found[n, level]) for n in names}
        own = rates["this service"]
        for name in names:
            print(f"{level:>4} {name:<30} {rates[name]:>7.0f}/s  ratio {own / rates[name]:.2f}")


if __name__ == "__main__":
    main()
