"""Delivery of events: signatures, retries and simulated faults."""

import asyncio
import json
import time
from collections.abc import Callable
from typing import Any

import pytest
import stripe

from datalayer_stripe.sandbox import Sandbox, StripeError
from datalayer_stripe.testing.recordings import EVENTS
from tests.sandbox.conftest import SECRET, Receiver


def pending_webhooks(sandbox: Sandbox) -> list[int]:
    return [event["pending_webhooks"] for event in sandbox.events]


@pytest.mark.gen_test
async def test_delivered_event_is_signed(sandbox: Sandbox, receiver: Receiver) -> None:
    customer = sandbox.create_customer(name="Åsa")
    assert pending_webhooks(sandbox) == [1]
    await sandbox.webhooks.settle()

    [(headers, body)] = receiver.requests
    assert headers["Content-Type"] == "application/json; charset=utf-8"
    assert headers["User-Agent"] == "Stripe/1.0 (+https://stripe.com/docs/webhooks)"
    event = stripe.Webhook.construct_event(body, headers["Stripe-Signature"], SECRET)
    assert (event.type, event.data.object.id) == ("customer.created", customer["id"])
    assert event.api_version == "2026-10-28.endive"
    assert body.startswith(b'{\n  "id": "evt_'), "formatted like Stripe's body"
    assert "Åsa".encode() in body
    assert pending_webhooks(sandbox) == [0]
    [attempt] = sandbox.webhooks.attempts
    assert (attempt.status, attempt.body, attempt.attempt) == (200, "answered 200", 1)
    assert (attempt.event_id, attempt.succeeded) == (event.id, True)


@pytest.mark.gen_test
async def test_each_active_secret_signs_event(
    sandbox: Sandbox, new_receiver: Callable[[], Receiver]
) -> None:
    receiver = new_receiver()
    secrets = ["whsec_old_example", "whsec_new_example"]
    sandbox.create_webhook_endpoint(receiver.url, secrets)
    sandbox.create_customer()
    await sandbox.webhooks.settle()
    [(headers, body)] = receiver.requests
    assert headers["Stripe-Signature"].count("v1=") == 2
    for secret in secrets:
        stripe.Webhook.construct_event(body, headers["Stripe-Signature"], secret)
    with pytest.raises(stripe.SignatureVerificationError):
        stripe.Webhook.construct_event(body, headers["Stripe-Signature"], "whsec_other")


@pytest.mark.gen_test
async def test_failed_delivery_is_retried_with_new_signature(
    sandbox: Sandbox, receiver: Receiver
) -> None:
    receiver.answers = [500, 302, 200]
    seconds = iter(range(1000, 2000))
    sandbox.clock.source = lambda: next(seconds)
    sandbox.create_customer()
    await sandbox.webhooks.settle()
    assert [attempt.status for attempt in sandbox.webhooks.attempts] == [500, 302, 200]
    assert [attempt.attempt for attempt in sandbox.webhooks.attempts] == [1, 2, 3]
    assert len({headers["Stripe-Signature"] for headers, _ in receiver.requests}) == 3
    assert len({event["id"] for event in receiver.events}) == 1
    assert pending_webhooks(sandbox) == [0]


@pytest.mark.gen_test
async def test_delivery_stays_pending_after_last_retry(
    sandbox: Sandbox, receiver: Receiver, client: stripe.StripeClient
) -> None:
    receiver.answers = [500] * 10
    customer = sandbox.create_customer()
    await sandbox.webhooks.settle()
    assert len(receiver.requests) == 1 + len(sandbox.webhooks.schedule)
    assert pending_webhooks(sandbox) == [1]
    receiver.answers = []
    sandbox.call("POST", f"/v1/customers/{customer['id']}", name="x")
    await sandbox.webhooks.settle()
    events = client.v1.events
    undelivered = await events.list_async({"delivery_success": False})
    assert [event.type for event in undelivered.data] == ["customer.created"]
    delivered = await events.list_async({"delivery_success": True})
    assert [event.type for event in delivered.data] == ["customer.updated"]


@pytest.mark.gen_test
async def test_unreachable_or_slow_endpoint_is_recorded_as_error(sandbox: Sandbox) -> None:
    sandbox.webhooks.schedule = ()

    async def answer_never(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    slow = await asyncio.start_server(answer_never, "127.0.0.1", 0)
    sandbox.webhooks.timeout = 0.1
    sandbox.create_webhook_endpoint("http://127.0.0.1:1/hook", SECRET)
    port = slow.sockets[0].getsockname()[1]
    sandbox.create_webhook_endpoint(f"http://127.0.0.1:{port}/hook", SECRET)
    sandbox.create_customer()
    await sandbox.webhooks.settle()
    slow.close()
    assert [attempt.status for attempt in sandbox.webhooks.attempts] == [None, None]
    assert all(attempt.error for attempt in sandbox.webhooks.attempts)
    assert pending_webhooks(sandbox) == [2]


@pytest.mark.gen_test
async def test_events_created_before_start_are_delivered_at_start(
    new_receiver: Callable[[], Receiver],
) -> None:
    receiver = new_receiver()
    sandbox = Sandbox()
    sandbox.create_webhook_endpoint(receiver.url, SECRET)
    sandbox.create_customer()
    assert sandbox.webhooks.release() == 0
    await sandbox.start()
    await sandbox.webhooks.settle()
    await sandbox.stop()
    assert receiver.types == ["customer.created"]


@pytest.mark.gen_test
async def test_stop_cancels_pending_deliveries(new_receiver: Callable[[], Receiver]) -> None:
    receiver = new_receiver()
    receiver.answers = [500]
    sandbox = Sandbox(retry_schedule=(3600,))
    await sandbox.start()
    sandbox.create_webhook_endpoint(receiver.url, SECRET)
    sandbox.create_customer()
    with pytest.raises(TimeoutError):
        await sandbox.webhooks.settle(timeout=0.1)
    began = time.monotonic()
    await sandbox.stop()
    assert time.monotonic() - began < 1


@pytest.mark.gen_test
async def test_events_are_delivered_several_times(sandbox: Sandbox, receiver: Receiver) -> None:
    sandbox.webhooks.duplicate(times=2)
    sandbox.create_customer()
    await sandbox.webhooks.settle()
    assert len(receiver.requests) == 3
    assert len({event["id"] for event in receiver.events}) == 1
    sandbox.webhooks.normal()
    sandbox.create_customer()
    await sandbox.webhooks.settle()
    assert len(receiver.requests) == 4


@pytest.mark.gen_test
@pytest.mark.parametrize("order", ["sent", "reversed", "shuffled"])
async def test_held_events_are_released_in_requested_order(
    sandbox: Sandbox, receiver: Receiver, order: Any
) -> None:
    sandbox.webhooks.hold()
    customer_ids = [sandbox.create_customer()["id"] for _ in range(8)]
    await sandbox.webhooks.settle()
    assert receiver.requests == []
    assert sandbox.webhooks.held == 8
    assert sandbox.webhooks.release(order, seed=3) == 8
    await sandbox.webhooks.settle()
    received_ids = [event["data"]["object"]["id"] for event in receiver.events]
    if order == "shuffled":
        assert received_ids not in (customer_ids, customer_ids[::-1])
        assert sorted(received_ids) == sorted(customer_ids)
    else:
        assert received_ids == (customer_ids if order == "sent" else customer_ids[::-1])
    sandbox.create_customer()
    await sandbox.webhooks.settle()
    assert len(receiver.requests) == 9, "events are no longer held back"


@pytest.mark.gen_test
async def test_failed_delivery_of_held_event_is_retried(
    sandbox: Sandbox, receiver: Receiver
) -> None:
    receiver.answers = [500]
    sandbox.webhooks.hold()
    sandbox.create_customer()
    sandbox.webhooks.release()
    await sandbox.webhooks.settle()
    assert pending_webhooks(sandbox) == [0]


@pytest.mark.gen_test
async def test_events_are_reordered(sandbox: Sandbox, receiver: Receiver) -> None:
    sandbox.webhooks.reorder(seed=3)
    customer_ids = [sandbox.create_customer()["id"] for _ in range(8)]
    await sandbox.webhooks.settle()
    received_ids = [event["data"]["object"]["id"] for event in receiver.events]
    assert sorted(received_ids) == sorted(customer_ids)
    assert received_ids != customer_ids
    sandbox.create_customer()
    await sandbox.webhooks.settle()
    assert len(receiver.requests) == 9, "later events are reordered too"


@pytest.mark.gen_test
async def test_delivery_is_delayed(sandbox: Sandbox, receiver: Receiver) -> None:
    sandbox.webhooks.delay(0.2)
    began = time.monotonic()
    sandbox.create_customer()
    await sandbox.webhooks.settle()
    assert time.monotonic() - began >= 0.2
    assert len(receiver.requests) == 1


@pytest.mark.gen_test
async def test_dropped_event_is_delivered_on_request(sandbox: Sandbox, receiver: Receiver) -> None:
    sandbox.webhooks.drop(1)
    sandbox.create_customer()
    sandbox.create_customer()
    await sandbox.webhooks.settle()
    assert len(receiver.requests) == 1
    assert pending_webhooks(sandbox) == [1, 0]
    attempt = await sandbox.webhooks.deliver(sandbox.events[0]["id"])
    assert attempt.status == 200
    assert pending_webhooks(sandbox) == [0, 0]


@pytest.mark.gen_test
async def test_refused_attempts_are_retried(sandbox: Sandbox, receiver: Receiver) -> None:
    sandbox.webhooks.refuse(2)
    sandbox.create_customer()
    await sandbox.webhooks.settle()
    assert [attempt.status for attempt in sandbox.webhooks.attempts] == [500, 500, 200]
    assert len(receiver.requests) == 1


@pytest.mark.gen_test
async def test_normal_removes_faults_and_releases_held_events(
    sandbox: Sandbox, receiver: Receiver
) -> None:
    sandbox.webhooks.drop(5)
    sandbox.webhooks.refuse(5)
    sandbox.webhooks.delay(60)
    sandbox.webhooks.normal()
    sandbox.webhooks.hold()
    sandbox.create_customer()
    sandbox.webhooks.normal()
    sandbox.create_customer()
    await sandbox.webhooks.settle()
    assert [attempt.status for attempt in sandbox.webhooks.attempts] == [200, 200]


@pytest.mark.gen_test
async def test_event_is_sent_again_on_request(sandbox: Sandbox, receiver: Receiver) -> None:
    sandbox.create_customer()
    await sandbox.webhooks.settle()
    receiver.answers = [503]
    attempt = await sandbox.webhooks.deliver(sandbox.events[0]["id"])
    assert (attempt.status, attempt.body) == (503, "answered 503")
    assert len(receiver.requests) == 2
    with pytest.raises(StripeError, match="No such event"):
        await sandbox.webhooks.deliver("evt_none")
    with pytest.raises(LookupError):
        await sandbox.webhooks.deliver(sandbox.events[0]["id"], "we_none")


@pytest.fixture(params=sorted(EVENTS.glob("*.json")), ids=lambda path: path.stem)
def recorded(request: pytest.FixtureRequest) -> bytes:
    """The body of each recorded event."""
    return request.param.read_bytes()


@pytest.mark.gen_test
async def test_recorded_event_is_sent_byte_for_byte(
    sandbox: Sandbox, receiver: Receiver, recorded: bytes
) -> None:
    event = sandbox.put_event(json.loads(recorded))
    await sandbox.webhooks.deliver(event["id"])
    assert receiver.requests[0][1] == recorded
    _remove_radar_options(sandbox.events[0])


def _remove_radar_options(value: Any) -> None:
    """Remove a field that is null in the recordings although the schema requires an object."""
    if isinstance(value, dict):
        value.pop("radar_options", None)
        for inner in value.values():
            _remove_radar_options(inner)
