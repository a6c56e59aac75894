"""A clock that tests move."""

from datetime import UTC, datetime, timedelta

INITIAL_TIME = datetime(2026, 11, 2, 9, 30, tzinfo=UTC)
"""The initial time of the test kit: some minutes after the recorded events."""


class Clock:
    """A clock that stands still or runs, and that a test moves.

    The test kit's clock stands still, so that two runs of a plugin get the same time.
    """

    def __init__(self, frozen_at: datetime | None = INITIAL_TIME) -> None:
        """Create a clock.

        Args:
            frozen_at: The time at which it stands still, with a time zone; None if it runs with
                the system's clock.
        """
        self._frozen_at = frozen_at
        self.offset = timedelta()
        """How far the clock was moved."""

    def __call__(self) -> datetime:
        """Return the time, in UTC."""
        return (self._frozen_at or datetime.now(UTC)) + self.offset

    def timestamp(self) -> float:
        """Return the time as epoch seconds, as the local Stripe needs it."""
        return self().timestamp()

    def advance(self, **parts: float) -> None:
        """Move the clock on, or back if the step is negative.

        Args:
            parts: The arguments of `timedelta`, such as `days=1`.
        """
        self.offset += timedelta(**parts)

    def advance_to(self, moment: datetime) -> None:
        """Move the clock on to a moment. Does nothing if the moment is past."""
        self.offset += max(moment - self(), timedelta())
