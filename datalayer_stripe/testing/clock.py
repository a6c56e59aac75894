"""A clock that stands still, so that two runs of a plugin see the same time."""

from datetime import UTC, datetime, timedelta

BEGINNING = datetime(2026, 11, 2, 9, 30, tzinfo=UTC)
"""Where it stands at first: some minutes after the recorded events."""


class Clock:
    """Returns one moment, in UTC, until it is moved."""

    def __init__(self) -> None:
        self._now = BEGINNING

    def __call__(self) -> datetime:
        return self._now

    def advance(self, **parts: float) -> None:
        """Move on by `timedelta(**parts)`. Raises ValueError for a step back."""
        step = timedelta(**parts)
        if step < timedelta():
            raise ValueError("time only moves forward")
        self._now += step

    def reach(self, moment: datetime) -> None:
        """Move on to a moment, unless it is past."""
        self._now = max(self._now, moment)
