"""The lag of the event loop."""

import asyncio

import pytest

from datalayer_stripe.metrics import Metrics
from datalayer_stripe.metrics.event_loop import INTERVAL_SECONDS, EventLoopMonitor


class Loop:
    """An event loop with timers that the test runs."""

    def __init__(self) -> None:
        self.now = 100.0
        self.timers: list[tuple[float, object]] = []

    def call_later(self, delay: float, callback: object) -> asyncio.TimerHandle:
        self.timers.append((self.now + delay, callback))
        handle: asyncio.TimerHandle = asyncio.TimerHandle.__new__(asyncio.TimerHandle)
        return handle

    def run_timer(self, *, late: float) -> None:
        due_at, callback = self.timers.pop()
        self.now = due_at + late
        assert callable(callback)
        callback()


def test_lag_is_how_late_the_timer_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    loop, metrics = Loop(), Metrics()
    monkeypatch.setattr(asyncio, "get_running_loop", lambda: loop)
    monitor = EventLoopMonitor(metrics, monotonic=lambda: loop.now)
    monitor.start()
    for late in (0.0, 0.75, -0.001):
        loop.run_timer(late=late)
    text = metrics.exposition().decode()
    assert "datalayer_stripe_event_loop_lag_seconds_count 3.0" in text
    assert "datalayer_stripe_event_loop_lag_seconds_sum 0.75" in text
    assert 'lag_seconds_bucket{le="0.5"} 2.0' in text
    assert loop.timers[0][0] == loop.now + INTERVAL_SECONDS


def test_monitor_goes_on_after_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    loop, metrics = Loop(), Metrics()
    monkeypatch.setattr(asyncio, "get_running_loop", lambda: loop)
    monitor = EventLoopMonitor(metrics, monotonic=lambda: loop.now)
    monitor.start()

    def fail(_: float) -> None:
        raise OSError("disk full")

    with monkeypatch.context() as patch:
        patch.setattr(metrics.event_loop_lag, "observe", fail)
        with pytest.raises(OSError, match="disk full"):
            loop.run_timer(late=0.0)
    loop.run_timer(late=0.25)
    assert "event_loop_lag_seconds_sum 0.25" in metrics.exposition().decode()


@pytest.mark.gen_test
async def test_monitor_measures_nothing_after_its_end() -> None:
    monitor = EventLoopMonitor(Metrics())
    monitor.start()
    monitor.stop()
    monitor.stop()
