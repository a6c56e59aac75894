"""The benchmark's database server, rounds and scratch folder, which all scenarios share."""

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.rounds import Rounds
from benchmarks.systems import mongod
from tests.support.mongod import Mongod


@dataclass(frozen=True)
class Bench:
    """What the scenarios run on.

    Attributes:
        folder: Scratch folder.
        mongod: The database server.
        rounds: How cases are measured.
        connections: The numbers of connections of the main comparison.
        stored_events: How many events one scenario stores beforehand.
    """

    folder: Path
    mongod: Mongod
    rounds: Rounds
    connections: Sequence[int]
    stored_events: int


@contextmanager
def open_bench(
    *, rounds: int, seconds: int, connections: Sequence[int], stored_events: int
) -> Iterator[Bench]:
    """Start the database server, and stop it at the end of the block."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="benchmark-")))
        server = stack.enter_context(mongod(folder))
        yield Bench(folder, server, Rounds(folder, rounds, seconds), connections, stored_events)
