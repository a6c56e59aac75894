"""A model of everything that may happen, and every single cut of a delivery: no law is broken."""

import random
import time
from collections.abc import Awaitable, Callable, Iterable

import pytest
from hypothesis import seed, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.faults import report, stories
from tests.faults.environment import Stage
from tests.faults.injection import CUTS, Cut, Kind
from tests.faults.model import Books
from tests.faults.world import World

pytestmark = [pytest.mark.mongod, pytest.mark.slow]

LONG_SECONDS = 45.0


def test_no_story_breaks_a_law(books: type[Books], quick: settings) -> None:
    run_state_machine_as_test(books, settings=quick)


@pytest.mark.faults
def test_no_random_story_breaks_a_law(
    books: type[Books], quick: settings, capsys: pytest.CaptureFixture[str]
) -> None:
    """New stories in each run. Those of one seed are told again by giving it to `seed`."""
    deadline = time.monotonic() + LONG_SECONDS
    while time.monotonic() < deadline:
        number = random.randrange(2**32)
        with capsys.disabled():
            print(f"\nseed {number}", end="", flush=True)
        seeded = seed(number)(type("Books", (books,), {}))
        long = settings(quick, derandomize=False, stateful_step_count=30)
        run_state_machine_as_test(seeded, settings=long)


async def nothing(_: World) -> None:
    """A payment needs nothing before it."""


async def subscribe(world: World) -> None:
    stories.a_subscription(world)
    await world.deliver_all()


async def buy(world: World) -> None:
    stories.a_payment(world)
    await world.deliver_all()


BEGINNINGS = pytest.mark.parametrize(
    ("begin", "happen"),
    [(nothing, stories.a_payment), (subscribe, stories.a_change), (buy, stories.a_refund)],
    ids=["top-up", "subscription", "refund"],
)
Begin = Callable[[World], Awaitable[None]]


@pytest.mark.parametrize("kind", CUTS)
@BEGINNINGS
def test_no_cut_of_a_delivery_breaks_a_law(
    stage: Stage, begin: Begin, happen: stories.Happening, kind: Kind
) -> None:
    cuts = stage.run(_cut_everywhere(stage, begin, happen, [kind], again=None))
    assert cuts > 12, "before and after each call"


@pytest.mark.faults
@BEGINNINGS
def test_no_crash_in_a_second_try_breaks_a_law(
    stage: Stage, begin: Begin, happen: stories.Happening
) -> None:
    for call in range(1, 9):
        for when in ("before", "after"):
            again = Cut(call, when, Kind.CRASH)
            stage.run(_cut_everywhere(stage, begin, happen, [Kind.CRASH], again=again))


async def _cut_everywhere(
    stage: Stage,
    begin: Begin,
    happen: stories.Happening,
    kinds: Iterable[Kind],
    *,
    again: Cut | None,
) -> int:
    world = await World.open(stage, witness=False)
    try:
        await begin(world)
        cuts = await stories.every_cut(world, happen, kinds, again=again)
        report.count("every cut", **world.counts)
        struck = world.faults.struck
        report.count("every cut", **{f"cut_{name}": n for name, n in sorted(struck.items())})
        return cuts
    finally:
        await world.close()
