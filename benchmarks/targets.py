"""The targets of the benchmark, and whether its results reach them."""

import operator
from collections.abc import Iterator
from dataclasses import dataclass

from benchmarks.rounds import Results
from benchmarks.scenarios import CONCURRENT, Bursts, Comparison
from benchmarks.summary import Spread
from benchmarks.systems import CEILING, DJ_STRIPE, ONE_TRANSACTION, SERVICE, SYNC_ENGINE


@dataclass(frozen=True)
class Target:
    """A goal.

    Attributes:
        what: What is compared.
        required: The value that must be reached.
        aim: The value that is aimed for.
        unit: The unit of the values; empty for a ratio.
        is_maximum: Whether the values are maxima instead of minima.
    """

    what: str
    required: float
    aim: float
    unit: str = ""
    is_maximum: bool = False

    def verdict(self, value: float) -> str:
        """Return whether a value reaches the goal."""
        reaches = operator.le if self.is_maximum else operator.ge
        if reaches(value, self.aim):
            return "aim met"
        return "met" if reaches(value, self.required) else "**not met**"


@dataclass(frozen=True)
class Checked:
    """A target and what was measured; None if it was not measured."""

    target: Target
    value: Spread | None


_RATES = (
    (ONE_TRANSACTION, 64, 2.5, 3.5),
    (ONE_TRANSACTION, 16, 1.5, 1.8),
    (SYNC_ENGINE, 64, 0.8, 1.1),
    (CEILING, 64, 0.38, 0.5),
    (DJ_STRIPE, 64, 35, 45),
)
_LONE = Target("a lone delivery, time of one transaction alone", 1.4, 1.15, is_maximum=True)
_DUPLICATES = (
    ("new", Target("50 copies of a new event at once", 25, 15, " ms", is_maximum=True)),
    ("done", Target("50 copies of an event that is done at once", 25, 15, " ms", is_maximum=True)),
)
_COMPARED = {"hot": (0.8, 0.95), "stored": (0.95, 1.0)}


def check_targets(
    main: Results, compared: dict[str, Comparison], bursts: Bursts | None
) -> list[Checked]:
    """Compare what was measured with the targets.

    Args:
        main: The main comparison.
        compared: Further comparisons: `hot` and `stored`.
        bursts: The copies of one event.
    """
    return [*_rates(main), _lone(main), *_comparisons(compared), *_bursts(bursts)]


def _rates(main: Results) -> Iterator[Checked]:
    for name, connections, required, aim in _RATES:
        what = f"rate of {name}, {connections} connections"
        known = main.has(name, connections) and main.has(SERVICE, connections)
        value = main.ratio(SERVICE, name, connections) if known else None
        yield Checked(Target(what, required, aim), value)


def _lone(main: Results) -> Checked:
    known = main.has(SERVICE, 1) and main.has(ONE_TRANSACTION, 1)
    return Checked(_LONE, main.ratio(SERVICE, ONE_TRANSACTION, 1, "p50") if known else None)


def _comparisons(compared: dict[str, Comparison]) -> Iterator[Checked]:
    for key, (required, aim) in _COMPARED.items():
        one = compared[key]
        target = Target(f"{one.title}, rate of {one.reference}", required, aim)
        value = one.results.ratio(one.name, one.reference, CONCURRENT) if one.results else None
        yield Checked(target, value)


def _bursts(bursts: Bursts | None) -> Iterator[Checked]:
    for key, target in _DUPLICATES:
        yield Checked(target, bursts.milliseconds[key] if bursts else None)
