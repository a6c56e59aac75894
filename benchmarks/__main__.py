"""Measure the service against reference servers: `make bench`."""

import sys

import click

from benchmarks import scenarios
from benchmarks.bench import Bench, open_bench
from benchmarks.books import BooksError
from benchmarks.machine import describe
from benchmarks.peers.systems import open_peers
from benchmarks.processes import BenchmarkError, pin_to_load_core
from benchmarks.profile import profile
from benchmarks.report import Report, write
from benchmarks.rounds import Results
from benchmarks.soak import soak
from benchmarks.tables import ratio_table, target_table
from benchmarks.targets import check_targets
from benchmarks.wrk import LoadError, find_wrk

_COMPARISONS = {
    "hot": scenarios.hot_account,
    "stored": scenarios.stored_events,
    "processes": scenarios.two_processes,
    "drivers": scenarios.drivers,
    "loops": scenarios.event_loops,
}

_METHOD = (
    "The service, and each other server in its turn, runs alone on core 0; the database, the load "
    "generator and everything else run on core 1. {rounds} rounds in alternating order, {seconds} "
    "seconds each. Each request is a distinct signed event of 2.5 KB for one of 1,000 accounts. "
    "An answer that is not a 2xx fails the run. The books of this service are checked after each "
    "measurement."
)


def _numbers(_: click.Context, __: click.Parameter, value: str) -> list[int]:
    """Parse positive numbers that are separated by commas."""
    numbers = [int(one) if one.isdecimal() else 0 for one in value.split(",")]
    if not all(numbers):
        raise click.BadParameter("give positive numbers, separated by commas")
    return numbers


@click.command()
@click.option(
    "--connections",
    default="1,16,64,256",
    callback=_numbers,
    show_default=True,
    help="Numbers of connections to compare at.",
)
@click.option(
    "--rounds",
    default=3,
    type=click.IntRange(min=1),
    show_default=True,
    help="How often each value is measured.",
)
@click.option("--seconds", default=3, show_default=True, help="Length of each measurement.")
@click.option(
    "--stored-events",
    default=1_000_000,
    show_default=True,
    help="Events in the database that is compared with an empty one.",
)
@click.option(
    "--soak-seconds", default=0, show_default=True, help="Length of the soak test; 0 for none."
)
@click.option("--peers", is_flag=True, help="Also stripe-sync-engine and dj-stripe.")
@click.option("--only-table", is_flag=True, help="Print the comparison, and write no file.")
def main(
    connections: list[int],
    rounds: int,
    seconds: int,
    stored_events: int,
    soak_seconds: int,
    peers: bool,
    only_table: bool,
) -> None:
    """Measure the service, and write the results."""
    try:
        find_wrk()
        pin_to_load_core()
        with open_bench(
            rounds=rounds, seconds=seconds, connections=connections, stored_events=stored_events
        ) as bench:
            results = _main_comparison(bench, peers=peers)
            if only_table:
                print(ratio_table(results))
                return
            compared = {key: scenario(bench) for key, scenario in _COMPARISONS.items()}
            report = Report(
                machine=describe(),
                method=_METHOD.format(rounds=rounds, seconds=seconds),
                main=results,
                compared=compared,
                bursts=scenarios.duplicates(bench),
                profile=profile(bench),
                soak=soak(bench, soak_seconds) if soak_seconds else "",
            )
    except (BenchmarkError, BooksError, LoadError) as error:
        sys.exit(f"The benchmark failed: {error}")
    write(report)
    print(target_table(check_targets(report.main, report.compared, report.bursts)))


def _main_comparison(bench: Bench, *, peers: bool) -> Results:
    if not peers:
        return scenarios.main_comparison(bench)
    with open_peers(bench.folder) as systems:
        return scenarios.main_comparison(bench, systems)


if __name__ == "__main__":
    main()
