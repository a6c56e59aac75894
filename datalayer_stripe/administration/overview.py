"""The last days: what was sold and taken back, and which events are open."""

import asyncio
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, time, timedelta
from typing import Any

from .._version import __version__
from ..clock import Clock
from ..store import Store
from ..store.event_lists import OpenDay
from ..store.event_records import FAILED, REJECTED
from ..store.ledger import CorrectedMoney, DaySum
from .views import Day, OpenWork, Overview, Sums

MAX_DAYS = 366
"""Maximum number of days of an overview."""

_RETURNED = frozenset({"refund", "dispute"})
_REFUND_KINDS = _RETURNED | {"refund-failed", "dispute-won"}


class Overviews:
    """Reader of the overview.

    Args:
        store: The database.
        clock: Returns the present time.
        livemode: Whether the service sells for real money.
    """

    def __init__(self, store: Store, clock: Clock, *, livemode: bool) -> None:
        self._store = store
        self._clock = clock
        self._livemode = livemode

    async def of_last(self, days: int) -> Overview:
        """Return the overview of the last days in UTC, of which today is the last.

        Args:
            days: The number of days.

        Raises:
            StoreUnavailable: The database does not answer in time.
        """
        today = self._clock().astimezone(UTC).date()
        first = today - timedelta(days=days - 1)
        store = self._store
        since = datetime.combine(first, time(), UTC)
        sums, corrected, failed, rejected, jobs = await asyncio.gather(
            store.ledger.by_day(since),
            store.ledger.corrected_money(since),
            store.event_lists.open_by_day(FAILED),
            store.event_lists.open_by_day(REJECTED),
            store.jobs.count(),
        )
        by_day = _days(sums, corrected, failed, rejected)
        dates = [first + timedelta(days=number) for number in range(days)]
        oldest = [one.oldest for one in (*failed[:1], *rejected[:1])]
        shown = tuple(Day(day=day, **by_day[day.isoformat()].fields()) for day in dates)
        return Overview(
            days=shown,
            totals=_total(shown),
            open=OpenWork(
                failed=sum(one.number for one in failed),
                rejected=sum(one.number for one in rejected),
                jobs_waiting=jobs,
            ),
            oldest_open_at=min(oldest, default=None),
            livemode=self._livemode,
            version=__version__,
        )


class _DaySums:
    """Sums of a day while they are added up."""

    def __init__(self) -> None:
        self.numbers: Counter[str] = Counter()
        self.amounts: Counter[str] = Counter()
        self.amounts_refunded: Counter[str] = Counter()

    def add(self, row: DaySum) -> None:
        """Add the rows of a kind and a currency."""
        if row.kind == "top-up":
            self.numbers["credits_sold"] += row.credits
            self.numbers["payments"] += row.rows
            self.amounts[row.currency] += row.amount
        elif row.kind in _REFUND_KINDS:
            self.numbers["credits_refunded"] -= row.credits
            self.numbers["refunds"] += row.rows if row.kind in _RETURNED else 0
            self.amounts_refunded[row.currency] -= row.amount
        else:
            self.numbers["credits_other"] += row.credits

    def correct(self, money: CorrectedMoney) -> None:
        """Add the money of corrections, so that the sums are what Stripe reports."""
        if money.is_returned:
            self.amounts_refunded[money.currency] -= money.amount
        else:
            self.amounts[money.currency] += money.amount

    def fields(self) -> dict[str, Any]:
        """Return the fields of :class:`.Sums`."""
        return {
            **self.numbers,
            "amounts": dict(self.amounts),
            "amounts_refunded": dict(self.amounts_refunded),
        }


def _days(
    sums: Iterable[DaySum],
    corrected: Iterable[CorrectedMoney],
    failed: Iterable[OpenDay],
    rejected: Iterable[OpenDay],
) -> defaultdict[str, _DaySums]:
    """Return the sums by day."""
    by_day: defaultdict[str, _DaySums] = defaultdict(_DaySums)
    for row in sums:
        by_day[row.day].add(row)
    for money in corrected:
        by_day[money.day].correct(money)
    for status, days in (("failed", failed), ("rejected", rejected)):
        for one in days:
            by_day[one.day].numbers[status] += one.number
    return by_day


def _total(days: Sequence[Sums]) -> Sums:
    """Return the sums of several days."""
    numbers: Counter[str] = Counter()
    amounts: dict[str, Counter[str]] = {"amounts": Counter(), "amounts_refunded": Counter()}
    for day in days:
        for name in Sums.model_fields:
            value = getattr(day, name)
            if isinstance(value, dict):
                for currency, amount in value.items():
                    amounts[name][currency] += amount
            else:
                numbers[name] += value
    sums = {name: dict(counter) for name, counter in amounts.items()}
    return Sums.model_validate({**numbers, **sums})
