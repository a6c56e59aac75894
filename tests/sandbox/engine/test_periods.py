"""Calculation of billing periods."""

from datetime import UTC, datetime

import pytest

from datalayer_stripe.sandbox.engine.periods import period_end


@pytest.mark.parametrize(
    ("start", "recurring", "end"),
    [
        ("2026-01-31", ("month", 1), "2026-02-28"),
        ("2026-02-28", ("month", 1), "2026-03-31"),
        ("2026-12-31", ("month", 2), "2027-02-28"),
        ("2026-01-31", ("year", 1), "2027-01-31"),
        ("2026-01-31", ("week", 2), "2026-02-14"),
        ("2026-01-31", ("day", 1), "2026-02-01"),
    ],
)
def test_period_ends_on_day_of_anchor(start: str, recurring: tuple[str, int], end: str) -> None:
    anchor = _epoch("2026-01-31")
    named = {"interval": recurring[0], "interval_count": recurring[1]}
    assert period_end(anchor, _epoch(start), named) == _epoch(end)


def _epoch(day: str) -> int:
    return int(datetime.fromisoformat(day).replace(tzinfo=UTC).timestamp())
