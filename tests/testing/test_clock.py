"""The clock that tests move."""

from datetime import UTC, datetime, timedelta

from datalayer_stripe.testing.clock import INITIAL_TIME, Clock


def test_frozen_clock_stands_still_until_it_is_advanced() -> None:
    clock = Clock()
    assert clock() == clock() == INITIAL_TIME
    clock.advance(days=1, seconds=2)
    assert clock() == INITIAL_TIME + timedelta(days=1, seconds=2)
    assert clock.timestamp() == clock().timestamp()


def test_clock_is_not_moved_to_a_past_moment() -> None:
    clock = Clock()
    later = INITIAL_TIME + timedelta(hours=1)
    clock.advance_to(later)
    clock.advance_to(INITIAL_TIME)
    assert clock() == later


def test_running_clock_keeps_its_offset_from_system_time() -> None:
    clock = Clock(frozen_at=None)
    clock.advance(minutes=-10)
    before = datetime.now(UTC)
    assert before <= clock() + timedelta(minutes=10) <= datetime.now(UTC)
