"""A clock that can be moved forward."""

from collections.abc import Callable


class Clock:
    """Callable that returns epoch seconds: the source's time plus an offset.

    Attributes:
        source: returns the time in epoch seconds.
        offset: how far the clock is ahead of its source, in seconds.

    Args:
        source: returns the time in epoch seconds.
    """

    def __init__(self, source: Callable[[], float]) -> None:
        self.source = source
        self.offset = 0.0

    def __call__(self) -> float:
        """Return the sandbox's time in epoch seconds."""
        return self.source() + self.offset

    def real(self) -> float:
        """Return the source's time in epoch seconds, for signatures and delivery attempts.

        A receiver rejects a signature whose timestamp is in the future, so signatures must not use
        the advanced time.
        """
        return self.source()

    def advance(self, seconds: float) -> None:
        """Move the clock forward.

        Raises:
            ValueError: `seconds` is negative.
        """
        if seconds < 0:
            raise ValueError("the clock only moves forward: seconds must not be negative")
        self.offset += seconds
