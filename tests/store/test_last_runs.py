"""Times of the last runs, and the report of the checks at the start."""

import asyncio
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from tornado.ioloop import IOLoop

from datalayer_stripe.events import parse
from datalayer_stripe.store import Store, UnitOfWork
from datalayer_stripe.store.job_marks import Deferral
from datalayer_stripe.store.last_runs import AUDIT, RECONCILIATION, LastRun
from tests.support.app import changed, recorded
from tests.support.database import connect

NOW = datetime(2026, 11, 2, 9, 30, tzinfo=UTC)
HOUR = timedelta(hours=1)

pytestmark = pytest.mark.mongod


@pytest.fixture
def store(io_loop: IOLoop, mongodb_url: str) -> Iterator[Store]:
    store = io_loop.run_sync(lambda: connect(mongodb_url, livemode=False))
    yield store
    io_loop.run_sync(store.close)


@pytest.mark.gen_test
async def test_run_is_recorded_by_its_kind(store: Store) -> None:
    assert await store.last_runs.get(AUDIT) is None
    await store.last_runs.record(AUDIT, NOW, problems=2)
    assert await store.last_runs.get(AUDIT) == LastRun(at=NOW, problems=2)
    assert await store.last_runs.get(RECONCILIATION) is None
    await store.last_runs.record(AUDIT, NOW + HOUR)
    assert await store.last_runs.get(AUDIT) == LastRun(at=NOW + HOUR, problems=0)


@pytest.mark.gen_test
async def test_run_that_began_earlier_does_not_replace_a_later_one(store: Store) -> None:
    await store.last_runs.record(AUDIT, NOW)
    await store.last_runs.record(AUDIT, NOW - HOUR, problems=5)
    assert await store.last_runs.get(AUDIT) == LastRun(at=NOW)


@pytest.mark.gen_test
async def test_latest_of_concurrent_runs_is_kept(store: Store) -> None:
    times = [NOW + number * HOUR for number in range(10)]
    for kind in map(str, range(20)):  # only the first runs of a kind insert its document
        await asyncio.gather(*(store.last_runs.record(kind, at) for at in reversed(times)))
        assert await store.last_runs.get(kind) == LastRun(at=times[-1])


@pytest.mark.gen_test
async def test_report_of_the_checks_is_read_while_it_is_recent(store: Store) -> None:
    reports = store.check_reports
    assert await reports.read(NOW) == {}
    await reports.write(NOW, {"portal.card": "No card.", "events.failed": "One."})
    assert await reports.read(NOW) == {"portal.card": "No card.", "events.failed": "One."}
    assert await reports.read(NOW + HOUR) == {}
    await reports.write(NOW + HOUR, {})
    assert await reports.read(NOW) == {}


@pytest.mark.gen_test
async def test_overdue_jobs_are_counted_by_plugin(store: Store) -> None:
    for plugin, due_at in (("late", NOW - 2 * HOUR), ("late", NOW - 3 * HOUR), ("new", NOW)):
        event = parse(changed(recorded("payment_intent.succeeded")))
        await store.commit(UnitOfWork(), Deferral(event, plugin, due_at))
    assert await store.jobs.overdue(NOW - HOUR) == {"late": 2}
