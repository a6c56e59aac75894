"""Periodic reconciliation: wrong clocks, and the gauge of the last success."""

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


def periodic(service: Service) -> PeriodicReconciliation:
    assert timedelta(seconds=service.settings.stripe_reconcile_interval) == HOUR
    return service.periodic_reconciliation()


def last_success(service: Service) -> float | None:
    name = "datalayer_stripe_reconcile_last_success_timestamp_seconds"
    return service.metrics.registry.get_sample_value(name)


@pytest.mark.mongod
@pytest.mark.parametrize("ahead", [timedelta(days=400), timedelta(days=-400)])
@pytest.mark.gen_test
async def test_process_with_wrong_clock_does_not_stop_others(
    service: Service, sandbox: Sandbox, clock: Clock, ahead: timedelta
) -> None:
    clock.offset = ahead
    assert await periodic(service).run_if_due()
    row = await service.store._database.service.find_one({"_id": f"lease-{LEASE}"})
    margin = timedelta(minutes=5)
    assert abs(row["due_at"] - datetime.now(UTC) - HOUR) < margin
    assert abs(row["done_until"] - datetime.now(UTC)) < margin
    assert not await periodic(service).run_if_due(), "it is not due by the clock of the server"


@both_stores
@pytest.mark.parametrize("field", ["due_at", "until"])
@pytest.mark.gen_test
async def test_lease_date_too_far_in_the_future_is_ignored(
    service: Service, clock: Clock, sandbox: Sandbox, field: str, store: str
) -> None:
    reconciliation, leases = periodic(service), service.store._database.service
    assert await reconciliation.run_if_due()
    assert not await reconciliation.run_if_due()
    due = {"due_at": clock() - HOUR, "until": clock() - HOUR}
    wrong = due | {field: clock() + timedelta(days=400)}
    await leases.update_one({"_id": f"lease-{LEASE}"}, {"$set": wrong})
    assert await reconciliation.run_if_due()


@pytest.mark.gen_test
async def test_every_process_exports_last_success(
    service: Service, clock: Clock, sandbox: Sandbox
) -> None:
    begun = int(clock().timestamp())  # MongoDB keeps milliseconds
    assert await periodic(service).run_if_due()
    assert (last_success(service) or 0) >= begun

    service.metrics.reconcile_last_success.set(0)
    assert not await periodic(service).run_if_due(), "another process has done it"
    assert (last_success(service) or 0) >= begun

    service.metrics.reconcile_last_success.set(0)
    async with periodic(service).running():
        assert (last_success(service) or 0) >= begun, "it is exported from the start"


@pytest.mark.gen_test
async def test_failed_run_does_not_change_last_success(
    service: Service, clock: Clock, sandbox: Sandbox, quick_retries: None
) -> None:
    sandbox.api.refuse(status=500, times=100)
    with pytest.raises(Exception, match="payment provider"):
        await periodic(service).run_if_due()
    assert last_success(service) == 0
