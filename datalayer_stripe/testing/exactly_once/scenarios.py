"""The courses that events can take: what Stripe and a bad day may do with them."""

import itertools
import random
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any

from ..faults import Cut, Kind, When
from .scenario_run import Events, ScenarioRun

# All orders of up to four events; of more, as many that a seed has chosen.
_MAX_ORDERS = 24

Scenario = Callable[[ScenarioRun], Awaitable[None]]


class Trouble(Enum):
    """What a scenario tries. A plugin that does not stand it needs the remedy that goes with it."""

    AGAIN = "another run"
    DUPLICATES = "duplicates"
    BURST = "at once"
    CUT = "a cut"
    ORDER = "another order"


@dataclass(frozen=True)
class Attempt:
    """A scenario, in words for the author, and with its cut, if any."""

    words: str
    trouble: Trouble
    scenario: Scenario
    cut: Cut | None = None


def plain(events: Events) -> Scenario:
    """One after the other, each once."""

    async def scenario(trial: ScenarioRun) -> None:
        for event in events:
            await trial.insist(event)
            await trial.finish()

    return scenario


def again(events: Events) -> Attempt:
    words = "delivered once, to a new service with an empty database"
    return Attempt(words, Trouble.AGAIN, plain(events))


def duplicates(events: Events) -> Attempt:
    async def scenario(trial: ScenarioRun) -> None:
        for event in events:
            for process in (0, 0, 1):
                await trial.insist(event, process)
            await trial.finish()

    return Attempt("delivered three times, one after the other", Trouble.DUPLICATES, scenario)


def at_once(events: Events) -> Attempt:
    """Each to both processes, all together."""

    async def scenario(trial: ScenarioRun) -> None:
        doubled = [event for event in events for _ in range(2)]
        await trial.deliver_at_once([*doubled, events[0]])
        await trial.finish()

    # Of one event the mark lets one run alone be kept, whatever the others have read.
    words = "delivered twice, at once, to two processes"
    return Attempt(words, Trouble.DUPLICATES, scenario)


def abreast(events: Events) -> Attempt:
    """Each once, all together."""

    async def scenario(trial: ScenarioRun) -> None:
        await trial.deliver_at_once(events)
        await trial.finish()

    words = f"{len(events)} events at once, on two processes"
    return Attempt(words, Trouble.BURST, scenario)


def orders(events: Events) -> Iterator[Attempt]:
    """Each order but the given one, with the event before delivered again after each."""
    for order in _orders(len(events)):

        async def scenario(trial: ScenarioRun, order: Sequence[int] = order) -> None:
            former: Mapping[str, Any] | None = None
            for turn, number in enumerate(order):
                await trial.insist(events[number], turn % 2)
                if former is not None:
                    await trial.insist(former)
                former = events[number]
                await trial.finish()

        numbers = ", ".join(str(number + 1) for number in order)
        yield Attempt(f"delivered in the order {numbers}, some twice", Trouble.ORDER, scenario)


def cuts(events: Events, calls: Sequence[str]) -> Iterator[Attempt]:
    """Each call of the plain scenario cut before and after, by an error and by death."""
    whens: tuple[When, ...] = ("before", "after")
    for (number, name), when, kind in itertools.product(enumerate(calls, 1), whens, Kind):

        async def scenario(trial: ScenarioRun) -> None:
            for event in events:
                await trial.insist(event)
                await trial.insist(event, to=1)
                await trial.finish()

        what = "nobody answers" if kind is Kind.ERROR else "the process dies"
        words = (
            f"cut {when} call {number} of {len(calls)}, {name}: {what}; then delivered again "
            "until it is accepted"
        )
        yield Attempt(words, Trouble.CUT, scenario, Cut(number, when, kind))


def _orders(number: int) -> list[tuple[int, ...]]:
    given = tuple(range(number))
    if number <= 4:
        return [order for order in itertools.permutations(given) if order != given]
    dice = random.Random(number)  # noqa: S311 (no secret)
    chosen: dict[tuple[int, ...], None] = {given[::-1]: None}
    while len(chosen) < _MAX_ORDERS:
        order = tuple(dice.sample(given, number))
        if order != given:
            chosen[order] = None
    return list(chosen)
