"""The overview adds up the ledger by UTC days, and counts the open events."""

import random
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from datalayer_stripe.administration.views import Overview, Sums
from datalayer_stripe.errors import InvalidRequest
from datalayer_stripe.models import ENTRY_KINDS
from datalayer_stripe.service import Service
from datalayer_stripe.store import ledger
from datalayer_stripe.testing.clock import Clock
from tests.administration.documents import NOW, event, job, ledger_row
from tests.support.shop import insert

stores = pytest.mark.parametrize(
    "store_kind", ["memory", pytest.param("mongod", marks=pytest.mark.mongod)]
)
_MIDNIGHT = datetime(2026, 11, 20, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)


@pytest.fixture
def clock() -> Clock:
    return Clock(frozen_at=NOW)


async def overview(service: Service, days: int) -> Overview:
    return await service.administration.overviews.of_last(days)


def random_rows(generator: random.Random, number: int) -> list[dict[str, Any]]:
    """Return rows of all kinds of the last 40 days, also at the first moment of a day."""
    kinds = sorted(ENTRY_KINDS)
    return [
        ledger_row(
            f"row_{index}",
            kind=kinds[index % len(kinds)],
            at=_MIDNIGHT
            - timedelta(days=generator.randrange(40))
            + generator.choice((timedelta(0), timedelta(hours=11), -_MILLISECOND)),
            credits=generator.randrange(-500, 500),
            amount=generator.randrange(-9000, 9000),
            currency=generator.choice(("usd", "eur", "jpy")),
            reverses=generator.choice((None, "pi_1")),
        )
        for index in range(number)
    ]


def money(rows: list[dict[str, Any]], sign: int = 1) -> dict[str, int]:
    currencies = {row["currency"] for row in rows}
    return {
        one: sign * sum(row["amount"] for row in rows if row["currency"] == one)
        for one in currencies
    }


def check(sums: Sums, rows: list[dict[str, Any]]) -> None:
    """Compare sums with the rows that they are of."""
    sold = [row for row in rows if row["kind"] == "top-up"]
    refund_kinds = {"refund", "dispute", "refund-failed", "dispute-won"}
    refunded = [row for row in rows if row["kind"] in refund_kinds]
    assert sums.credits_sold == sum(row["credits"] for row in sold)
    assert sums.payments == len(sold)
    corrections = [row for row in rows if row["kind"] == "correction"]
    of_refunds = [row for row in corrections if row.get("reverses")]
    of_payments = [row for row in corrections if not row.get("reverses")]
    assert sums.amounts == money([*sold, *of_payments])
    assert sums.credits_refunded == -sum(row["credits"] for row in refunded)
    assert sums.refunds == sum(row["kind"] in {"refund", "dispute"} for row in refunded)
    assert sums.amounts_refunded == money([*refunded, *of_refunds], -1)
    change = sums.credits_sold - sums.credits_refunded + sums.credits_other
    assert change == sum(row["credits"] for row in rows)


@stores
@pytest.mark.gen_test
async def test_sums_of_each_day_and_of_all_days_are_those_of_the_ledger(
    service: Service, store_kind: str
) -> None:
    rows = random_rows(random.Random(20261120), 400)
    await insert(service, "ledger", *rows)
    for days in (1, 7, 30, 366):
        found = await overview(service, days)
        first = _MIDNIGHT - timedelta(days=days - 1)
        assert [one.day for one in found.days] == [
            (first + timedelta(days=number)).date() for number in range(days)
        ]
        for day in found.days:
            check(day, [row for row in rows if row["created_at"].date() == day.day])
        check(found.totals, [row for row in rows if row["created_at"] >= first])


@stores
@pytest.mark.gen_test
async def test_rows_of_another_service_need_no_fields_of_a_payment(
    service: Service, store_kind: str
) -> None:
    bare = {"_id": "spent_1", "account_uid": "a", "kind": "spent", "credits": -5}
    await insert(
        service, "ledger", ledger_row("pi_1"), bare, bare | {"_id": "s2", "created_at": NOW}
    )
    await insert(service, "accounts", {"_id": "a", "credits": 40, "updated_at": NOW})
    found = await overview(service, 1)
    assert (found.totals.credits_sold, found.totals.credits_other) == (50, -5)
    story = await service.administration.accounts.story("a", limit=50)
    assert [row.credits for row in story.ledger] == [-5, 50, -5]


@stores
@pytest.mark.gen_test
async def test_open_events_are_counted_by_the_day_of_their_receipt(
    service: Service, store_kind: str
) -> None:
    yesterday, long_ago = NOW - timedelta(days=1), NOW - timedelta(days=90)
    await insert(
        service,
        "events",
        event("evt_1"),
        event("evt_2", failed=["one", "two"]),
        event("evt_3", rejected=["one"], at=yesterday),
        event("evt_4", failed=["one"], rejected=["two"], at=yesterday),
        event("evt_5", failed=["one"], at=long_ago),
        event("evt_6") | {"failed": [], "rejected": []},
    )
    await insert(service, "jobs", job("evt_1", "later"), job("evt_2", "later"))
    found = await overview(service, 2)
    assert [(one.failed, one.rejected) for one in found.days] == [(1, 2), (1, 0)]
    assert (found.totals.failed, found.totals.rejected) == (2, 2)
    assert found.open.model_dump() == {"failed": 3, "rejected": 2, "jobs_waiting": 2}
    assert found.oldest_open_at == long_ago


@pytest.mark.mongod
@pytest.mark.gen_test
async def test_sums_that_take_too_long_say_what_to_do(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Enough rows that the server looks at its clock, which it does from time to time only.
    rows = [ledger_row(f"pi_{number}") for number in range(20_000)]
    await insert(service, "ledger", *rows)
    monkeypatch.setattr(ledger, "_MAX_SUM_MS", 1)
    with pytest.raises(InvalidRequest, match="Ask for fewer days"):
        await overview(service, 366)


@pytest.mark.gen_test
async def test_overview_of_an_empty_database_has_all_days(service: Service) -> None:
    found = await overview(service, 30)
    assert len(found.days) == 30
    assert found.totals == Sums()
    assert found.oldest_open_at is None
    assert found.livemode is False
