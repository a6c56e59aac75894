"""Delivery of events: signatures, retries, and the troubles one may wish on it."""

import asyncio
import json
import time
from collections.abc import Callable
from typing import Any

import pytest
import stripe

from datalayer_stripe.sandbox import Sandbox, StripeError
from datalayer_stripe.testing.recordings import EVENTS
from tests.sandbox.conftest import SECRET, Receiver, Shop
from tests.sandbox.schemas import check


def pending(sandbox: Sandbox) -> list[int]:
    return [event["pending_webhooks"] for event in sandbox.events]


@pytest.mark.gen_test
async def test_an_event_is_delivered_signed(sandbox: Sandbox, receiver: Receiver) -> None:
    customer = sandbox.create_customer(name="Åsa")
    assert pending(sandbox) == [1]
    await sandbox.webhooks.settle()

    [(headers, body)] = receiver.requests
    assert headers["Content-Type"] == "application/json; charset=utf-8"
    assert headers["User-Agent"] == "Stripe/1.0 (+https://stripe.com/docs/webhooks)"
    event = stripe.Webhook.construct_event(body, headers["Stripe-Signature"], SECRET)
    assert (event.type, event.data.object.id) == ("customer.created", customer["id"])
    assert event.api_version == "2026-08-26.dahlia"
    assert body.startswith(b'{\n  "id": "evt_'), "as Stripe lays it out"
    assert "Åsa".encode() in body
    assert pending(sandbox) == [0]
    [attempt] = sandbox.webhooks.attempts
    assert (attempt.status, attempt.body, attempt.attempt) == (200, "answered 200", 1)
    assert (attempt.event_id, attempt.succeeded) == (event.id, True)


@pytest.mark.gen_test
async def test_each_active_secret_signs(
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
async def test_a_refused_event_is_sent_again_with_a_new_signature(
    sandbox: Sandbox, receiver: Receiver
) -> None:
    receiver.answers = [500, 302, 200]
    seconds = iter(range(1000, 2000))
    sandbox.clock._source = lambda: next(seconds)
    sandbox.create_customer()
    await sandbox.webhooks.settle()
    assert [attempt.status for attempt in sandbox.webhooks.attempts] == [500, 302, 200]
    assert [attempt.attempt for attempt in sandbox.webhooks.attempts] == [1, 2, 3]
    assert len({headers["Stripe-Signature"] for headers, _ in receiver.requests}) == 3
    assert len({event["id"] for event in receiver.events}) == 1
    assert pending(sandbox) == [0]


@pytest.mark.gen_test
async def test_retries_end(
    sandbox: Sandbox, receiver: Receiver, client: stripe.StripeClient
) -> None:
    receiver.answers = [500] * 10
    customer = sandbox.create_customer()
    await sandbox.webhooks.settle()
    assert len(receiver.requests) == 1 + len(sandbox.webhooks.schedule)
    assert pending(sandbox) == [1]
    receiver.answers = []
    sandbox.call("POST", f"/v1/customers/{customer['id']}", name="x")
    await sandbox.webhooks.settle()
    events = client.v1.events
    undelivered = await events.list_async({"delivery_success": False})
    assert [event.type for event in undelivered.data] == ["customer.created"]
    delivered = await events.list_async({"delivery_success": True})
    assert [event.type for event in delivered.data] == ["customer.updated"]


@pytest.mark.gen_test
async def test_an_endpoint_that_cannot_be_reached_or_is_slow(sandbox: Sandbox) -> None:
    sandbox.webhooks.schedule = ()

    async def never(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    slow = await asyncio.start_server(never, "127.0.0.1", 0)
    sandbox.webhooks.timeout = 0.1
    sandbox.create_webhook_endpoint("http://127.0.0.1:1/hook", SECRET)
    port = slow.sockets[0].getsockname()[1]
    sandbox.create_webhook_endpoint(f"http://127.0.0.1:{port}/hook", SECRET)
    sandbox.create_customer()
    await sandbox.webhooks.settle()
    slow.close()
    assert [attempt.status for attempt in sandbox.webhooks.attempts] == [None, None]
    assert all(attempt.error for attempt in sandbox.webhooks.attempts)
    assert pending(sandbox) == [2]


@pytest.mark.gen_test
async def test_endpoints_get_what_they_ask_for(
    sandbox: Sandbox, client: stripe.StripeClient, new_receiver: Callable[[], Receiver]
) -> None:
    endpoints = client.v1.webhook_endpoints
    chosen, everything = new_receiver(), new_receiver()
    made = await endpoints.create_async(
        {"url": chosen.url, "enabled_events": ["customer.updated"], "metadata": {"a": "1"}}
    )
    sandbox.create_webhook_endpoint(everything.url, SECRET)
    customer = sandbox.create_customer()
    path = f"/v1/customers/{customer['id']}"
    sandbox.call("POST", path, name="x")
    await sandbox.webhooks.settle()
    assert chosen.types == ["customer.updated"]
    assert sorted(everything.types) == ["customer.created", "customer.updated"]
    headers, body = chosen.requests[0]
    stripe.Webhook.construct_event(body, headers["Stripe-Signature"], made.secret)

    retrieved = await endpoints.retrieve_async(made.id)
    assert "secret" not in retrieved.to_dict()
    await endpoints.update_async(made.id, {"disabled": True})
    sandbox.call("POST", path, name="y")
    await endpoints.update_async(made.id, {"disabled": False, "enabled_events": ["*"]})
    sandbox.call("POST", path, name="z")
    await sandbox.webhooks.settle()
    assert len(chosen.requests) == 2
    assert len((await endpoints.list_async()).data) == 2
    assert (await endpoints.delete_async(made.id)).deleted is True
    with pytest.raises(stripe.InvalidRequestError, match="scheme"):
        await endpoints.create_async({"url": "nowhere", "enabled_events": ["*"]})


REMOTE = (
    "https://example.com/hook",
    "http://192.0.2.1/hook",
    "http://0.0.0.0/hook",
    "http://127.0.0.1@example.com/hook",
    "http://127.0.0.1.example.com/hook",
    "http:///hook",
    "http://[::1/hook",
)


@pytest.mark.gen_test
@pytest.mark.parametrize("url", REMOTE)
async def test_webhook_endpoint_on_another_machine_is_refused(
    sandbox: Sandbox, client: stripe.StripeClient, url: str
) -> None:
    endpoints = client.v1.webhook_endpoints
    with pytest.raises(StripeError):
        sandbox.create_webhook_endpoint(url, SECRET)
    with pytest.raises(stripe.InvalidRequestError) as refused:
        await endpoints.create_async({"url": url, "enabled_events": ["*"]})
    assert refused.value.param == "url"
    made = sandbox.create_webhook_endpoint("http://localhost:9/hook", SECRET, ["price.created"])
    with pytest.raises(stripe.InvalidRequestError):
        await endpoints.update_async(made["id"], {"url": url})
    assert [one["url"] for one in sandbox.call("GET", "/v1/webhook_endpoints")["data"]] == [
        "http://localhost:9/hook"
    ]


def test_webhook_endpoint_on_another_machine_is_allowed_by_option() -> None:
    sandbox = Sandbox(remote_webhooks=True)
    made = sandbox.create_webhook_endpoint("https://example.com/hook", SECRET)
    assert made["url"] == "https://example.com/hook"


@pytest.mark.parametrize("url", ["http://127.0.0.1:9/", "http://[::1]:9/", "https://LOCALHOST/"])
def test_webhook_endpoint_on_this_machine_is_allowed(url: str) -> None:
    assert Sandbox().create_webhook_endpoint(url, SECRET)["url"] == url


@pytest.mark.gen_test
async def test_events_made_before_the_start_are_delivered_then(
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
async def test_stopping_cancels_what_is_pending(new_receiver: Callable[[], Receiver]) -> None:
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
async def test_duplicates(sandbox: Sandbox, receiver: Receiver) -> None:
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
async def test_held_events_come_in_the_order_asked_for(
    sandbox: Sandbox, receiver: Receiver, order: Any
) -> None:
    sandbox.webhooks.hold()
    made = [sandbox.create_customer()["id"] for _ in range(8)]
    await sandbox.webhooks.settle()
    assert receiver.requests == []
    assert sandbox.webhooks.held == 8
    assert sandbox.webhooks.release(order, seed=3) == 8
    await sandbox.webhooks.settle()
    came = [event["data"]["object"]["id"] for event in receiver.events]
    if order == "shuffled":
        assert came not in (made, made[::-1])
        assert sorted(came) == sorted(made)
    else:
        assert came == (made if order == "sent" else made[::-1])
    sandbox.create_customer()
    await sandbox.webhooks.settle()
    assert len(receiver.requests) == 9, "nothing is held any more"


@pytest.mark.gen_test
async def test_a_held_event_that_is_refused_is_sent_again(
    sandbox: Sandbox, receiver: Receiver
) -> None:
    receiver.answers = [500]
    sandbox.webhooks.hold()
    sandbox.create_customer()
    sandbox.webhooks.release()
    await sandbox.webhooks.settle()
    assert pending(sandbox) == [0]


@pytest.mark.gen_test
async def test_reordering(sandbox: Sandbox, receiver: Receiver) -> None:
    sandbox.webhooks.reorder(seed=3)
    made = [sandbox.create_customer()["id"] for _ in range(8)]
    await sandbox.webhooks.settle()
    came = [event["data"]["object"]["id"] for event in receiver.events]
    assert sorted(came) == sorted(made)
    assert came != made
    sandbox.create_customer()
    await sandbox.webhooks.settle()
    assert len(receiver.requests) == 9, "the next ones are gathered too"


@pytest.mark.gen_test
async def test_delays(sandbox: Sandbox, receiver: Receiver) -> None:
    sandbox.webhooks.delay(0.2)
    began = time.monotonic()
    sandbox.create_customer()
    await sandbox.webhooks.settle()
    assert time.monotonic() - began >= 0.2
    assert len(receiver.requests) == 1


@pytest.mark.gen_test
async def test_drops_are_lost_until_sent_once_more(sandbox: Sandbox, receiver: Receiver) -> None:
    sandbox.webhooks.drop(1)
    sandbox.create_customer()
    sandbox.create_customer()
    await sandbox.webhooks.settle()
    assert len(receiver.requests) == 1
    assert pending(sandbox) == [1, 0]
    attempt = await sandbox.webhooks.deliver(sandbox.events[0]["id"])
    assert attempt.status == 200
    assert pending(sandbox) == [0, 0]


@pytest.mark.gen_test
async def test_refusals_are_retried(sandbox: Sandbox, receiver: Receiver) -> None:
    sandbox.webhooks.refuse(2)
    sandbox.create_customer()
    await sandbox.webhooks.settle()
    assert [attempt.status for attempt in sandbox.webhooks.attempts] == [500, 500, 200]
    assert len(receiver.requests) == 1


@pytest.mark.gen_test
async def test_normal_lets_go_and_ends_all_troubles(sandbox: Sandbox, receiver: Receiver) -> None:
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
async def test_sending_once_more(sandbox: Sandbox, receiver: Receiver) -> None:
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
    """Each recorded event."""
    return request.param.read_bytes()


@pytest.mark.gen_test
async def test_a_recorded_event_is_stored_and_sent_byte_for_byte(
    sandbox: Sandbox, receiver: Receiver, recorded: bytes
) -> None:
    event = sandbox.put_event(json.loads(recorded))
    await sandbox.webhooks.deliver(event["id"])
    assert receiver.requests[0][1] == recorded
    _without_radar_options(sandbox.events[0])


@pytest.mark.gen_test
async def test_an_old_endpoint_gets_old_shapes(
    sandbox: Sandbox,
    client: stripe.StripeClient,
    shop: Shop,
    new_receiver: Callable[[], Receiver],
) -> None:
    old, new = new_receiver(), new_receiver()
    sandbox.create_webhook_endpoint(old.url, SECRET, api_version="2024-06-20")
    sandbox.create_webhook_endpoint(new.url, SECRET, api_version="2025-09-30.clover")
    subscription = sandbox.call(
        "POST",
        "/v1/subscriptions",
        customer=shop.customer,
        items=[{"price": shop.monthly}],
        payment_behavior="default_incomplete",
        payment_settings={"save_default_payment_method": "on_subscription"},
        expand=["latest_invoice.confirmation_secret"],
    )
    secret = subscription["latest_invoice"]["confirmation_secret"]["client_secret"]
    sandbox.confirm_payment(secret)
    before = sandbox.get(subscription["id"])["items"]["data"][0]["current_period_end"]
    sandbox.renew(subscription["id"])
    await sandbox.webhooks.settle()

    def last(receiver: Receiver, type: str) -> dict[str, Any]:
        by_id = {event["id"]: event for event in receiver.events if event["type"] == type}
        return next(by_id[event["id"]] for event in sandbox.events[::-1] if event["id"] in by_id)

    event = last(old, "customer.subscription.updated")
    obj, previous = event["data"]["object"], event["data"]["previous_attributes"]
    item = sandbox.get(subscription["id"])["items"]["data"][0]
    assert event["api_version"] == "2024-06-20"
    assert obj["current_period_start"] == before
    assert obj["current_period_end"] == item["current_period_end"]
    assert "current_period_end" not in obj["items"]["data"][0]
    assert previous["current_period_end"] == before
    assert "items" not in previous, "but for the period, the items are as they were"

    invoice = last(old, "invoice.paid")["data"]["object"]
    assert (invoice["subscription"], invoice["paid"]) == (subscription["id"], True)
    assert invoice["payment_intent"].startswith("pi_")
    assert "parent" not in invoice
    line = invoice["lines"]["data"][0]
    assert (line["price"]["id"], line["subscription"]) == (shop.monthly, subscription["id"])
    intent = last(old, "payment_intent.succeeded")["data"]["object"]
    assert intent["invoice"] == invoice["id"]

    event = last(new, "customer.subscription.updated")
    assert event["api_version"] == "2025-09-30.clover"
    assert "current_period_end" in event["data"]["object"]["items"]["data"][0]
    check(event["data"]["object"])

    asked = await client.v1.subscriptions.retrieve_async(
        subscription["id"], options={"stripe_version": "2024-06-20"}
    )
    assert asked.current_period_end == item["current_period_end"]


def _without_radar_options(value: Any) -> None:
    """Drop a field that the recordings have as null where the schema wants an object."""
    if isinstance(value, dict):
        value.pop("radar_options", None)
        for inner in value.values():
            _without_radar_options(inner)
