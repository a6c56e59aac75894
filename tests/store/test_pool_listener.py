"""The waits for connections of the pools."""

import asyncio

import pytest
from pymongo.monitoring import ConnectionCheckOutFailedEvent, ConnectionCheckOutFailedReason

from datalayer_stripe.metrics import Metrics
from datalayer_stripe.settings import DriverName
from datalayer_stripe.store import connect
from datalayer_stripe.store.pool_listener import PoolListener


def value(metrics: Metrics, name: str, pool: str) -> float:
    return metrics.registry.get_sample_value(f"datalayer_stripe_{name}", {"pool": pool}) or 0.0


@pytest.mark.mongod
@pytest.mark.parametrize("driver", ["motor", "pymongo"])
@pytest.mark.gen_test
async def test_waits_of_both_pools_are_measured(mongodb_url: str, driver: DriverName) -> None:
    metrics = Metrics()
    url = f"{mongodb_url}&maxPoolSize=1"
    store = await connect(url, livemode=False, driver=driver, metrics=metrics)
    try:
        count = "mongodb_pool_wait_seconds_count"
        before = value(metrics, count, "service")
        waited = value(metrics, "mongodb_pool_wait_seconds_sum", "service")
        await asyncio.gather(*(store.ping() for _ in range(8)))
        assert value(metrics, count, "service") == before + 8
        assert value(metrics, "mongodb_pool_wait_seconds_sum", "service") > waited
        assert value(metrics, count, "plugins") == 0
        await store.find_one("plugin_mailer", {})
        assert value(metrics, count, "plugins") == 1
    finally:
        await store.close()


def test_call_that_gets_no_connection_is_counted() -> None:
    metrics = Metrics()
    listener = PoolListener(metrics, "service")
    reason = ConnectionCheckOutFailedReason.TIMEOUT
    listener.connection_check_out_failed(
        ConnectionCheckOutFailedEvent(("localhost", 27017), reason, duration=1.5)
    )
    assert value(metrics, "mongodb_pool_failures_total", "service") == 1
    assert value(metrics, "mongodb_pool_wait_seconds_sum", "service") == 1.5
    assert value(metrics, "mongodb_pool_failures_total", "plugins") == 0
