"""The clock that is passed to whatever needs the time, so that tests can set it."""

from collections.abc import Callable
from datetime import UTC, datetime

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

MAX_EPOCH_SECONDS = 253_402_300_799
"""`datetime.max` in epoch seconds: the last second of the year 9999."""

Clock = Callable[[], datetime]
"""Returns the current time as a datetime in UTC, with a time zone."""


def system_clock() -> datetime:
    """Return the current time of the operating system, in UTC."""
    return datetime.now(UTC)


def from_epoch(seconds: int | None) -> datetime | None:
    """Convert a time of Stripe, in whole epoch seconds, to a datetime in UTC. None stays None."""
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC)
