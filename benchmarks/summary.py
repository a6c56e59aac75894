"""Medians of several rounds, and ratios between systems."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Spread:
    """The median of several rounds, with the lowest and the highest value."""

    median: float
    low: float
    high: float

    def text(self, digits: int) -> str:
        """Return it as `median (low–high)`, with this number of digits after the point."""
        return f"{self.median:,.{digits}f} ({self.low:,.{digits}f}–{self.high:,.{digits}f})"


def spread(values: Sequence[float]) -> Spread:
    """Return the spread of the values of several rounds."""
    return Spread(statistics.median(values), min(values), max(values))


def ratio(values: Sequence[float], reference: Sequence[float]) -> Spread:
    """Return the spread of the ratios of each round.

    The two values of a round are measured one shortly after the other. So their ratio changes less
    than the values do if the machine is slower for a while.

    Args:
        values: The values by round.
        reference: The values to compare with, by round.
    """
    return spread([value / other for value, other in zip(values, reference, strict=True)])
