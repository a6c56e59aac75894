"""The scenarios: ways in which Stripe may deliver events, and faults in between."""

import itertools
import random
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any

from ..faults import WHENS, Fault, FaultKind
from .scenario_run import Events, ScenarioRun

# Up to four events are delivered in all orders; more of them in this many, chosen by a seed.
_MAX_ORDERS = 24

Scenario = Callable[[ScenarioRun], Awaitable[None]]


class Stress(Enum):
    """What a scenario tests. The advice to the plugin's author depends on it."""

    REPEATED_RUN = "a second run"
    DUPLICATES = "duplicates"
    CONCURRENCY = "concurrent events"
    FAULT = "a fault"
    ORDER = "another order"


@dataclass(frozen=True)
class Attempt:
    """A scenario that the plugin must pass.

    Attributes:
        description: The scenario in words, for the plugin's author.
        stress: What it tests.
        scenario: Delivers the events.
        fault: The fault of a call of the first process, if any.
    """

    description: str
    stress: Stress
    scenario: Scenario
    fault: Fault | None = None


def plain(events: Events) -> Scenario:
    """Return the scenario that delivers each event once, one after the other."""

    async def scenario(run: ScenarioRun) -> None:
        for event in events:
            await run.deliver_until_accepted(event)
            await run.finish_jobs()

    return scenario


def repeated(events: Events) -> Attempt:
    """Return the plain scenario as an attempt: two runs must have the same final state."""
    description = "delivered once, to a new service with an empty database"
    return Attempt(description, Stress.REPEATED_RUN, plain(events))


def duplicates(events: Events) -> Attempt:
    """Return the scenario that delivers each event three times, one after the other."""

    async def scenario(run: ScenarioRun) -> None:
        for event in events:
            for process in (0, 0, 1):
                await run.deliver_until_accepted(event, process)
            await run.finish_jobs()

    return Attempt("delivered three times, one after the other", Stress.DUPLICATES, scenario)


def concurrent_duplicates(events: Events) -> Attempt:
    """Return the scenario that delivers each event to both processes concurrently."""

    async def scenario(run: ScenarioRun) -> None:
        doubled = [event for event in events for _ in range(2)]
        await run.deliver_concurrently([*doubled, events[0]])
        await run.finish_jobs()

    description = "delivered twice, concurrently, to two processes"
    # Only one run of an event can commit with the mark, even if others have read the same state.
    return Attempt(description, Stress.DUPLICATES, scenario)


def concurrent(events: Events) -> Attempt:
    """Return the scenario that delivers each event once, all of them concurrently."""

    async def scenario(run: ScenarioRun) -> None:
        await run.deliver_concurrently(events)
        await run.finish_jobs()

    description = f"{len(events)} events delivered concurrently, to two processes"
    return Attempt(description, Stress.CONCURRENCY, scenario)


def orders(events: Events) -> Iterator[Attempt]:
    """Yield each other order of the events. After each event the one before it comes again."""
    for order in _orders(len(events)):

        async def scenario(run: ScenarioRun, order: Sequence[int] = order) -> None:
            previous: Mapping[str, Any] | None = None
            for turn, number in enumerate(order):
                await run.deliver_until_accepted(events[number], turn % 2)
                if previous is not None:
                    await run.deliver_until_accepted(previous)
                previous = events[number]
                await run.finish_jobs()

        numbers = ", ".join(str(number + 1) for number in order)
        yield Attempt(f"delivered in the order {numbers}, some twice", Stress.ORDER, scenario)


def faults(events: Events, calls: Sequence[str]) -> Iterator[Attempt]:
    """Yield a fault of each call of the plain scenario, before and after it is done.

    Args:
        events: The events.
        calls: The names of the calls of the plain scenario.
    """
    kinds = (FaultKind.ERROR, FaultKind.CRASH)
    for (number, name), when, kind in itertools.product(enumerate(calls, 1), WHENS, kinds):

        async def scenario(run: ScenarioRun) -> None:
            for event in events:
                await run.deliver_until_accepted(event)
                await run.deliver_until_accepted(event, to=1)
                await run.finish_jobs()

        what = "the call gets no answer" if kind is FaultKind.ERROR else "the process dies"
        description = (
            f"interrupted {when} call {number} of {len(calls)}, {name}: {what}; then delivered "
            "again until it is accepted"
        )
        yield Attempt(description, Stress.FAULT, scenario, Fault(number, when, kind))


def _orders(number: int) -> list[tuple[int, ...]]:
    given = tuple(range(number))
    if number <= 4:
        return [order for order in itertools.permutations(given) if order != given]
    rng = random.Random(number)  # noqa: S311 (no secret)
    chosen: dict[tuple[int, ...], None] = {given[::-1]: None}
    while len(chosen) < _MAX_ORDERS:
        order = tuple(rng.sample(given, number))
        if order != given:
            chosen[order] = None
    return list(chosen)
