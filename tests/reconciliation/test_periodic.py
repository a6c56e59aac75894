"""The periodic reconciliation: what a wrong clock may not do, and how its last success is told."""

from datetime import UTC, datetime, timedelta

import pytest

from datalayer_stripe.reconciliation.periodic import LEASE, PeriodicReconciliation
from datalayer_stripe.sandbox import Sandbox
from datalayer_stripe.service import Service
from tests.support.app import Clock

HOUR = timedelta(hours=1)

both_stores = pytest.mark.parametrize(
    "store", ["memory", pytest.param("mongod", marks=pytest.mark.mongod)]
)


def process(service: Service) -> PeriodicReconciliation:
    assert timedelta(seconds=service.settings.stripe_reconcile_interval) == HOUR
    return service.periodic_reconciliation()


def last_success(service: Service) -> float | None:
    name = "datalayer_stripe_reconcile_last_success_timestamp_seconds"
    return service.metrics.registry.get_sample_value(name)


@pytest.mark.mongod
@pytest.mark.parametrize("ahead", [timedelta(days=400), timedelta(days=-400)])
@pytest.mark.gen_test
async def test_a_process_with_a_wrong_clock_does_not_stop_the_others(
    service: Service, sandbox: Sandbox, clock: Clock, ahead: timedelta
) -> None:
    clock.offset = ahead
    assert await process(service).run_if_due()
    row = await service.store._database.service.find_one({"_id": f"lease-{LEASE}"})
    margin = timedelta(minutes=5)
    assert abs(row["due_at"] - datetime.now(UTC) - HOUR) < margin
    assert abs(row["done_until"] - datetime.now(UTC)) < margin
    assert not await process(service).run_if_due(), "it is not due, whatever its clock says"


@both_stores
@pytest.mark.parametrize("field", ["due_at", "until"])
@pytest.mark.gen_test
async def test_a_date_that_no_right_clock_has_written_is_ignored(
    service: Service, clock: Clock, sandbox: Sandbox, field: str, store: str
) -> None:
    right, leases = process(service), service.store._database.service
    assert await right.run_if_due()
    assert not await right.run_if_due()
    due = {"due_at": clock() - HOUR, "until": clock() - HOUR}
    far = due | {field: clock() + timedelta(days=400)}
    await leases.update_one({"_id": f"lease-{LEASE}"}, {"$set": far})
    assert await right.run_if_due()


@pytest.mark.gen_test
async def test_every_process_tells_when_it_was_last_done(
    service: Service, clock: Clock, sandbox: Sandbox
) -> None:
    begun = int(clock().timestamp())  # MongoDB keeps milliseconds
    assert await process(service).run_if_due()
    assert (last_success(service) or 0) >= begun

    service.metrics.reconcile_last_success.set(0)
    assert not await process(service).run_if_due(), "another process has done it"
    assert (last_success(service) or 0) >= begun

    service.metrics.reconcile_last_success.set(0)
    async with process(service).running():
        assert (last_success(service) or 0) >= begun, "it is known from the start"


@pytest.mark.gen_test
async def test_a_failed_run_is_no_success(
    service: Service, clock: Clock, sandbox: Sandbox, quick_retries: None
) -> None:
    sandbox.api.refuse(status=500, times=100)
    with pytest.raises(Exception, match="payment provider"):
        await process(service).run_if_due()
    assert last_success(service) == 0
