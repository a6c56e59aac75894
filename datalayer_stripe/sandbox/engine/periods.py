"""Calculation of billing periods.

https://docs.stripe.com/billing/subscriptions/billing-cycle
"""

import calendar
from datetime import UTC, datetime, timedelta

from ..shapes.objects import Object


def period_end(anchor: int, start: int, recurring: Object) -> int:
    """Return the end of a billing period, in epoch seconds.

    A period of months ends on the anchor's day of the month, or on the month's last day if the
    month is shorter.

    Args:
        anchor: the `billing_cycle_anchor`, in epoch seconds.
        start: the start of the period, in epoch seconds.
        recurring: the price's `recurring` hash: `interval` and `interval_count`.
    """
    interval, count = recurring["interval"], recurring["interval_count"]
    if interval in ("day", "week"):
        days = count * (7 if interval == "week" else 1)
        return start + int(timedelta(days=days).total_seconds())
    months = count * (12 if interval == "year" else 1)
    begin = datetime.fromtimestamp(start, UTC)
    year, month = divmod(begin.year * 12 + begin.month - 1 + months, 12)
    day = datetime.fromtimestamp(anchor, UTC).day
    last = calendar.monthrange(year, month + 1)[1]
    return int(begin.replace(year=year, month=month + 1, day=min(day, last)).timestamp())
