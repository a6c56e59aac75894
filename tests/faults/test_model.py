"""No law is violated: in random stories, and with a fault of each call of a delivery."""

import random
import time
from collections.abc import Awaitable, Callable, Iterable
from itertools import product

import pytest
from hypothesis import seed, settings
from hypothesis.stateful import run_state_machine_as_test

from datalayer_stripe.testing.faults import INTERRUPTING_KINDS, WHENS, Fault, FaultKind
from tests.faults import report, stories
from tests.faults.model import ServiceModel
from tests.faults.runner import SimulationRunner
from tests.faults.simulation import Simulation

pytestmark = [pytest.mark.mongod, pytest.mark.slow]

RANDOM_SECONDS = 45.0

Prepare = Callable[[Simulation], Awaitable[None]]


@pytest.mark.parametrize("stories", [12, pytest.param(40, marks=pytest.mark.faults)])
def test_fixed_stories_violate_no_law(
    model: type[ServiceModel], quick: settings, stories: int
) -> None:
    run_state_machine_as_test(model, settings=settings(quick, max_examples=stories))


@pytest.mark.faults
def test_random_stories_violate_no_law(
    model: type[ServiceModel], quick: settings, capsys: pytest.CaptureFixture[str]
) -> None:
    """The stories differ in each run. To repeat them, pass the printed seed to `seed`."""
    deadline = time.monotonic() + RANDOM_SECONDS
    while time.monotonic() < deadline:
        number = random.randrange(2**32)
        with capsys.disabled():
            print(f"\nseed {number}", end="", flush=True)
        seeded = seed(number)(type("ServiceModel", (model,), {}))
        long = settings(quick, derandomize=False, stateful_step_count=30)
        run_state_machine_as_test(seeded, settings=long)


async def nothing(_: Simulation) -> None:
    """Do nothing: a payment needs no earlier event."""


async def subscribe(simulation: Simulation) -> None:
    stories.subscribe(simulation)
    await simulation.deliver_all()


async def pay(simulation: Simulation) -> None:
    stories.pay(simulation)
    await simulation.deliver_all()


SCENARIOS: dict[str, tuple[Prepare, stories.MakeEvent]] = {
    "top-up": (nothing, stories.pay),
    "subscription": (subscribe, stories.change_subscription),
    "refund": (pay, stories.refund),
}
# A crash in each scenario, and each kind in one of them. `make test-faults` tries the others.
SHORT = {*product(SCENARIOS, [FaultKind.CRASH]), *product(["top-up"], INTERRUPTING_KINDS)}


@pytest.mark.parametrize(
    ("scenario", "kind"),
    [
        pytest.param(*one, marks=() if one in SHORT else pytest.mark.faults)
        for one in product(SCENARIOS, INTERRUPTING_KINDS)
    ],
)
def test_fault_of_any_call_of_a_delivery_violates_no_law(
    runner: SimulationRunner, scenario: str, kind: FaultKind
) -> None:
    faults = runner.run(_interrupt_everywhere(runner, scenario, [kind], again=None))
    assert faults >= 10, "a fault before and after each call"


@pytest.mark.faults
@pytest.mark.parametrize("scenario", SCENARIOS)
def test_crash_in_the_second_delivery_violates_no_law(
    runner: SimulationRunner, scenario: str
) -> None:
    for call in range(1, 9):
        for when in WHENS:
            again = Fault(call, when, FaultKind.CRASH)
            runner.run(_interrupt_everywhere(runner, scenario, [FaultKind.CRASH], again=again))


async def _interrupt_everywhere(
    runner: SimulationRunner,
    scenario: str,
    kinds: Iterable[FaultKind],
    *,
    again: Fault | None,
) -> int:
    prepare, make_event = SCENARIOS[scenario]
    simulation = await Simulation.open(runner, counting=False, thin=True)
    try:
        await prepare(simulation)
        faults = await stories.every_fault(simulation, make_event, kinds, again=again)
        report.count("every fault", **simulation.counts)
        injected = sorted(simulation.injector.injected.items())
        report.count("every fault", **{f"faults_{name}": n for name, n in injected})
        return faults
    finally:
        await simulation.close()
