"""Time that a test moves, for code that gets its clock and its sleep."""

import asyncio
import heapq
from itertools import count


class VirtualTime:
    """A clock in seconds, and a sleep that ends when the test has moved the clock far enough."""

    def __init__(self) -> None:
        self.now = 0.0
        self._numbers = count()
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []

    def monotonic(self) -> float:
        """Return the time."""
        return self.now

    async def sleep(self, seconds: float) -> None:
        """Sleep until the clock has been moved by `seconds`."""
        future = asyncio.get_running_loop().create_future()
        heapq.heappush(self._sleepers, (self.now + seconds, next(self._numbers), future))
        await future

    @property
    def next_end(self) -> float | None:
        """When the next sleep ends, or None if nobody sleeps."""
        while self._sleepers and self._sleepers[0][2].done():
            heapq.heappop(self._sleepers)
        return self._sleepers[0][0] if self._sleepers else None

    def advance(self) -> bool:
        """Move the clock to the end of the next sleep; return False if nobody sleeps."""
        end = self.next_end
        if end is None:
            return False
        self.now = max(self.now, end)
        heapq.heappop(self._sleepers)[2].set_result(None)
        return True
