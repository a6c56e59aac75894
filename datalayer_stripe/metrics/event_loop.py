"""Measure how late the event loop runs its callbacks."""

import asyncio
import time
from collections.abc import Callable

from .service_metrics import Metrics

INTERVAL_SECONDS = 0.5
"""How often the lag is measured."""


class EventLoopMonitor:
    """Measures the lag of the event loop, and updates the metrics of the process.

    A callback that blocks the loop delays the measurement. So the lag is the time for which
    requests wait without being served.

    Args:
        metrics: The metrics of the service.
        monotonic: Returns the time of a monotonic clock, in seconds. The loop's own clock is
            cached by uvloop, and has milliseconds only.
    """

    def __init__(
        self, metrics: Metrics, *, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._metrics = metrics
        self._monotonic = monotonic
        self._due_at = 0.0
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Begin to measure, in the running event loop."""
        self._due_at = self._monotonic() + INTERVAL_SECONDS
        self._timer = asyncio.get_running_loop().call_later(INTERVAL_SECONDS, self._measure)

    def stop(self) -> None:
        """Stop measuring."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _measure(self) -> None:
        try:
            # uvloop rounds the time of a timer to milliseconds, so it may run too early.
            self._metrics.event_loop_lag.observe(max(0.0, self._monotonic() - self._due_at))
            self._metrics.garbage_collections.update()
        finally:
            # An error, such as of a file of `serve --processes`, must not end the measurements.
            self.start()
