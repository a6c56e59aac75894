"""Webhook endpoints."""

import asyncio
from collections.abc import Callable

import pytest
import stripe

from datalayer_stripe.sandbox import Sandbox, StripeError
from tests.sandbox.conftest import SECRET, Receiver


@pytest.mark.gen_test
async def test_endpoint_receives_subscribed_event_types(
    sandbox: Sandbox, client: stripe.StripeClient, new_receiver: Callable[[], Receiver]
) -> None:
    endpoints = client.v1.webhook_endpoints
    chosen, everything = new_receiver(), new_receiver()
    endpoint = await endpoints.create_async(
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
    stripe.Webhook.construct_event(body, headers["Stripe-Signature"], endpoint.secret)

    retrieved = await endpoints.retrieve_async(endpoint.id)
    assert "secret" not in retrieved.to_dict()
    await endpoints.update_async(endpoint.id, {"disabled": True})
    sandbox.call("POST", path, name="y")
    await endpoints.update_async(endpoint.id, {"disabled": False, "enabled_events": ["*"]})
    sandbox.call("POST", path, name="z")
    await sandbox.webhooks.settle()
    assert len(chosen.requests) == 2
    assert len((await endpoints.list_async()).data) == 2
    assert (await endpoints.delete_async(endpoint.id)).deleted is True
    with pytest.raises(stripe.InvalidRequestError, match="scheme"):
        await endpoints.create_async({"url": "nowhere", "enabled_events": ["*"]})


REMOTE_URLS = (
    "https://example.com/hook",
    "http://192.0.2.1/hook",
    "http://0.0.0.0/hook",
    "http://127.0.0.1@example.com/hook",
    "http://127.0.0.1.example.com/hook",
    "http:///hook",
    "http://[::1/hook",
)


@pytest.mark.gen_test
@pytest.mark.parametrize("url", REMOTE_URLS)
async def test_endpoint_on_another_machine_is_rejected(
    sandbox: Sandbox, client: stripe.StripeClient, url: str
) -> None:
    endpoints = client.v1.webhook_endpoints
    with pytest.raises(StripeError):
        sandbox.create_webhook_endpoint(url, SECRET)
    with pytest.raises(stripe.InvalidRequestError) as refused:
        await endpoints.create_async({"url": url, "enabled_events": ["*"]})
    assert refused.value.param == "url"
    endpoint = sandbox.create_webhook_endpoint("http://localhost:9/hook", SECRET, ["price.created"])
    with pytest.raises(stripe.InvalidRequestError):
        await endpoints.update_async(endpoint["id"], {"url": url})
    assert [listed["url"] for listed in sandbox.call("GET", "/v1/webhook_endpoints")["data"]] == [
        "http://localhost:9/hook"
    ]


def test_endpoint_on_another_machine_is_allowed_by_option() -> None:
    sandbox = Sandbox(remote_webhooks=True)
    endpoint = sandbox.create_webhook_endpoint("https://example.com/hook", SECRET)
    assert endpoint["url"] == "https://example.com/hook"


@pytest.mark.parametrize("url", ["http://127.0.0.1:9/", "http://[::1]:9/", "https://LOCALHOST/"])
def test_endpoint_on_this_machine_is_allowed(url: str) -> None:
    assert Sandbox().create_webhook_endpoint(url, SECRET)["url"] == url


@pytest.mark.gen_test
async def test_account_has_at_most_16_endpoints(
    sandbox: Sandbox, client: stripe.StripeClient
) -> None:
    endpoints = client.v1.webhook_endpoints
    url = "http://127.0.0.1:9/"
    made = [await endpoints.create_async({"url": url, "enabled_events": ["*"]}) for _ in range(16)]
    with pytest.raises(stripe.InvalidRequestError, match="maximum of 16 test webhook endpoints"):
        await endpoints.create_async({"url": url, "enabled_events": ["*"]})
    await endpoints.delete_async(made[0].id)
    await endpoints.create_async({"url": url, "enabled_events": ["*"]})


@pytest.mark.gen_test
async def test_update_changes_only_what_it_names(
    sandbox: Sandbox, client: stripe.StripeClient
) -> None:
    endpoints = client.v1.webhook_endpoints
    made = await endpoints.create_async(
        {
            "url": "http://127.0.0.1:9/a",
            "enabled_events": ["price.created"],
            "api_version": "2026-08-26.dahlia",
            "description": "first",
            "metadata": {"a": "1", "b": "2"},
        }
    )
    changed = await endpoints.update_async(
        made.id,
        {"url": "http://127.0.0.1:9/b", "description": "", "metadata": {"a": "", "c": "3"}},
    )
    assert changed.url == "http://127.0.0.1:9/b"
    assert changed.description is None
    assert changed.metadata.to_dict() == {"b": "2", "c": "3"}
    assert changed.enabled_events == ["price.created"]
    assert changed.api_version == "2026-08-26.dahlia"
    assert "secret" not in changed.to_dict()
    with pytest.raises(stripe.InvalidRequestError) as refused:
        await endpoints.update_async(made.id, {"enabled_events": ""})  # type: ignore[typeddict-item]
    assert refused.value.code == "parameter_invalid_empty"
    with pytest.raises(stripe.InvalidRequestError, match="api_version"):
        await endpoints.update_async(made.id, {"api_version": "x"})  # type: ignore[typeddict-unknown-key]


@pytest.mark.parametrize("end", ["disable", "delete"])
@pytest.mark.gen_test
async def test_disabled_or_deleted_endpoint_gets_no_retry(
    sandbox: Sandbox, client: stripe.StripeClient, receiver: Receiver, end: str
) -> None:
    endpoints = client.v1.webhook_endpoints
    [endpoint] = (await endpoints.list_async()).data
    sandbox.webhooks.schedule = (0.2,) * 5
    receiver.answers = [503] * 10
    sandbox.create_customer()
    while not receiver.requests:  # noqa: ASYNC110 (the receiver has no event)
        await asyncio.sleep(0.001)
    if end == "delete":
        await endpoints.delete_async(endpoint.id)
    else:
        await endpoints.update_async(endpoint.id, {"disabled": True})
    await sandbox.webhooks.settle()
    assert len(receiver.requests) == 1
    undelivered = await client.v1.events.list_async({"delivery_success": False})
    assert len(undelivered.data) == 1, "the event stays undelivered"
