"""Plugins that hang: time limits, the deadline of answers, and the shutdown."""

import asyncio
import gc

import pytest

from datalayer_stripe.composition import open_service
from datalayer_stripe.errors import DeliveryFailed, StoreUnavailable
from datalayer_stripe.plugin_api.registry import Registry
from datalayer_stripe.service import Service
from datalayer_stripe.settings import Settings
from datalayer_stripe.testing.clock import Clock
from datalayer_stripe.webhooks import delivery
from tests.faults.load.hanging_plugin import (
    HangingPlugin,
    committed_runs,
    deliveries_with,
    in_flight,
    payment,
)
from tests.support.app import Api, json_of, sign
from tests.support.database import connect
from tests.support.shop import rows

# The load may go on for a while after a test, so each has a database of its own.
pytestmark = [pytest.mark.mongod, pytest.mark.usefixtures("mongodb_url")]


@pytest.mark.gen_test
async def test_hanging_plugin_is_cancelled_at_its_time_limit_and_runs_again(
    api: Api, service: Service, hanging: HangingPlugin
) -> None:
    hanging.limit_to(0.2)
    body = payment("slow", 1)
    answer = await api.deliver(body)
    assert (answer.code, json_of(answer)["code"]) == (503, "delivery_failed")
    assert hanging.running == 0
    [event] = await rows(service, "events")
    assert event["failed"] == ["hanging"]
    assert event["handlers"]["hanging"]["error"] == "it took longer than 0.2 s"
    assert await committed_runs(service) == []
    assert await api.credits("slow") == 50, "another plugin's failure must not delay the credits"
    assert deliveries_with(service, "failed") == 1

    hanging.released.set()
    assert json_of(await api.deliver(body))["outcome"] == "processed"
    assert await committed_runs(service) == [1]
    assert await api.credits("slow") == 50


@pytest.mark.gen_test
async def test_late_delivery_is_answered_by_the_deadline_and_still_commits_once(
    api: Api, service: Service, hanging: HangingPlugin, monkeypatch: pytest.MonkeyPatch
) -> None:
    body = payment("slow", 1)
    with monkeypatch.context() as short_deadline:
        short_deadline.setattr(delivery, "ANSWER_DEADLINE_SECONDS", 0.3)
        # Stripe got its answer and delivers again, while the first deliveries are still in flight.
        for late in range(1, 4):
            answer = await api.deliver(body)
            assert (answer.code, json_of(answer)["code"]) == (503, "delivery_failed")
            assert in_flight(service) == late
            await hanging.wait_until_running(late)
    assert await committed_runs(service) == []

    hanging.released.set()
    await service.deliveries.idle()
    assert in_flight(service) == 0
    assert await committed_runs(service) == [1]
    assert await api.credits("slow") == 50
    assert json_of(await api.deliver(body))["outcome"] == "duplicate"


async def unavailable(*_: object) -> None:
    raise StoreUnavailable


@pytest.mark.gen_test
async def test_failure_of_late_delivery_is_logged_and_event_is_processed_again(
    api: Api,
    service: Service,
    hanging: HangingPlugin,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    body = payment("slow", 1)
    with monkeypatch.context() as outage:
        outage.setattr(delivery, "ANSWER_DEADLINE_SECONDS", 0.3)
        assert (await api.deliver(body)).code == 503
        outage.setattr(service.store, "commit", unavailable)
        outage.setattr(service.store.events, "record_failure", unavailable)
        hanging.released.set()
        await service.deliveries.idle()
    assert "delivery failed after its deadline" in caplog.messages
    assert deliveries_with(service, "failed") == 1
    gc.collect()
    assert not [message for message in caplog.messages if "never retrieved" in message]
    assert json_of(await api.deliver(body))["outcome"] == "processed"


@pytest.mark.gen_test
async def test_shutdown_waits_for_late_deliveries(
    settings: Settings, clock: Clock, hanging: HangingPlugin, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(delivery, "ANSWER_DEADLINE_SECONDS", 0.1)
    registry = Registry((*Registry.load().plugins, hanging.plugin))
    service = await open_service(settings, registry=registry, clock=clock)
    body = payment("slow", 1)
    with pytest.raises(DeliveryFailed):
        await service.deliveries.receive(body, sign(body))
    closing = asyncio.create_task(service.close())
    await asyncio.wait({closing}, timeout=0.1)
    assert not closing.done()
    hanging.released.set()
    await closing

    store = await connect(settings.stripe_mongodb_url.get_secret_value(), livemode=False)
    assert (await store.accounts.get("slow")).credits == 50
    kept = await store.events.get("evt_slow_1")
    assert kept is not None
    assert {run.status for run in kept.handlers.values()} == {"done"}
    await store.close()
