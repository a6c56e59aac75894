"""The sandbox's time: a given clock, which can be moved forward."""

from collections.abc import Callable


class Clock:
    """A callable of epoch seconds: its source's time plus what it was advanced by."""

    def __init__(self, source: Callable[[], float]) -> None:
        self._source = source
        self.offset = 0.0

    def __call__(self) -> float:
        """Return the sandbox's time."""
        return self._source() + self.offset

    def real(self) -> float:
        """Return the source's time, for signatures and the record of attempts.

        Advancing a sandbox is not to make its signatures come from the future.
        """
        return self._source()

    def advance(self, seconds: float) -> None:
        """Move the sandbox's time forward.

        Raises:
            ValueError: `seconds` is negative.
        """
        if seconds < 0:
            raise ValueError("time only moves forward")
        self.offset += seconds
