"""Simulated faults of the API."""

import aiohttp
import pytest
import stripe

from datalayer_stripe.sandbox import Sandbox


@pytest.mark.gen_test
@pytest.mark.parametrize(
    ("status", "expected"),
    [(429, stripe.RateLimitError), (500, stripe.APIError), (503, stripe.APIError)],
)
async def test_refused_request_is_not_executed(
    sandbox: Sandbox, client: stripe.StripeClient, status: int, expected: type[Exception]
) -> None:
    sandbox.api.refuse(status=status, times=1, path_prefix="/v1/customers")
    await client.v1.prices.list_async()
    with pytest.raises(expected) as caught:
        await client.v1.customers.create_async({}, {"idempotency_key": "k"})
    assert getattr(caught.value, "http_status", None) == status
    await client.v1.customers.create_async({}, {"idempotency_key": "k"})
    assert sandbox.api.calls == [
        ("GET", "/v1/prices", None, 200),
        ("POST", "/v1/customers", "k", status),
        ("POST", "/v1/customers", "k", 200),
    ]


@pytest.mark.gen_test
@pytest.mark.parametrize("cut_after", [False, True])
async def test_retry_after_cut_connection_executes_once(
    sandbox: Sandbox, client: stripe.StripeClient, cut_after: bool
) -> None:
    sandbox.api.cut(1, cut_after=cut_after)
    with pytest.raises(stripe.APIConnectionError):
        await client.v1.customers.create_async({}, {"idempotency_key": "k"})
    assert len(sandbox.events) == (1 if cut_after else 0)
    assert sandbox.api.calls == [("POST", "/v1/customers", "k", None)]
    await client.v1.customers.create_async({}, {"idempotency_key": "k"})
    assert len(sandbox.events) == 1


@pytest.mark.gen_test
async def test_sdk_retries_after_simulated_faults(sandbox: Sandbox) -> None:
    transport = stripe.AIOHTTPClient()
    retrying = stripe.StripeClient(
        sandbox.secret_key,
        base_addresses={"api": sandbox.url},
        http_client=transport,
        max_network_retries=2,
    )
    sandbox.api.refuse(503)
    sandbox.api.cut(1, cut_after=True)
    await retrying.v1.customers.create_async({"name": "x"})
    await transport.close_async()
    assert len(sandbox.events) == 1
    assert [call.status for call in sandbox.api.calls] == [503, None, 200]
    assert len({call.idempotency_key for call in sandbox.api.calls}) == 1


@pytest.mark.gen_test
async def test_delayed_request_exceeds_client_timeout(sandbox: Sandbox) -> None:
    sandbox.api.delay(30, path_prefix="/v1/prices")
    transports = [
        stripe.AIOHTTPClient(timeout=aiohttp.ClientTimeout(total=seconds)) for seconds in (60, 0.5)
    ]
    patient, impatient = (
        stripe.StripeClient(
            sandbox.secret_key,
            base_addresses={"api": sandbox.url},
            http_client=transport,
            max_network_retries=0,
        )
        for transport in transports
    )
    await patient.v1.customers.list_async()
    with pytest.raises(stripe.APIConnectionError):
        await impatient.v1.prices.list_async()
    sandbox.api.normal()
    await patient.v1.prices.list_async()
    for transport in transports:
        await transport.close_async()
