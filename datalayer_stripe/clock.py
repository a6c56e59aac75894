"""Time, as something that is passed in, so that tests can move it."""

from collections.abc import Callable
from datetime import UTC, datetime

Clock = Callable[[], datetime]
"""Returns the present moment, in UTC, with a time zone."""


def system_clock() -> datetime:
    return datetime.now(UTC)


def from_epoch(seconds: int | None) -> datetime | None:
    """Stripe's `created` and other times (whole epoch seconds) as a UTC datetime."""
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC)
