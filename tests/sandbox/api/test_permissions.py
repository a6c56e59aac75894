"""Restricted keys of the sandbox."""

import json

import pytest
import stripe

from datalayer_stripe.sandbox import Sandbox
from tests.sandbox.conftest import FORM, Http, error_of


@pytest.mark.gen_test
async def test_request_without_permission_is_refused_as_by_stripe(
    sandbox: Sandbox, http: Http
) -> None:
    key = sandbox.create_restricted_key(["webhook_read", "customer_write"])
    assert key.startswith("rk_test_")
    assert (await http("GET", "/v1/webhook_endpoints", key=key)).code == 200
    refused = await http("POST", "/v1/webhook_endpoints", "url=x", key=key, Content_Type=FORM)
    assert refused.code == 403
    error = error_of(refused)
    assert error["type"] == "invalid_request_error"
    assert error["code"] == "more_permissions_required"
    assert "Enabling Webhook Endpoints Write ('webhook_write') permissions" in error["message"]
    assert key not in error["message"]


@pytest.mark.gen_test
async def test_permission_to_write_includes_reading(sandbox: Sandbox, http: Http) -> None:
    key = sandbox.create_restricted_key(["customer_write"])
    made = await http("POST", "/v1/customers", "name=x", key=key, Content_Type=FORM)
    assert made.code == 200
    customer = json.loads(made.body)["id"]
    assert (await http("GET", f"/v1/customers/{customer}", key=key)).code == 200
    read_only = sandbox.create_restricted_key(["customer_read"])
    assert (await http("GET", f"/v1/customers/{customer}", key=read_only)).code == 200
    assert (await http("DELETE", f"/v1/customers/{customer}", key=read_only)).code == 403


@pytest.mark.parametrize(
    ("path", "permission"),
    [
        ("/v1/prices", "plan_read"),
        ("/v1/refunds", "charge_read"),
        ("/v1/customers/cus_1", "customer_read"),
        ("/v1/billing_portal/configurations", "customer_portal_read"),
        ("/v1/events", "event_read"),
        ("/v1/subscriptions", "subscription_read"),
        ("/v1/payment_intents", "payment_intent_read"),
    ],
)
@pytest.mark.gen_test
async def test_refusal_names_the_permission_of_the_resource(
    sandbox: Sandbox, http: Http, path: str, permission: str
) -> None:
    key = sandbox.create_restricted_key([])
    refused = await http("GET", path, key=key)
    assert refused.code == 403
    assert f"('{permission}')" in error_of(refused)["message"]


@pytest.mark.gen_test
async def test_sdk_raises_its_permission_error(sandbox: Sandbox) -> None:
    transport = stripe.AIOHTTPClient()
    client = stripe.StripeClient(
        sandbox.create_restricted_key([]),
        base_addresses={"api": sandbox.url},
        http_client=transport,
        max_network_retries=0,
    )
    with pytest.raises(stripe.PermissionError):
        await client.v1.prices.list_async()
    await transport.close_async()


@pytest.mark.gen_test
async def test_restricted_key_is_rejected_in_request_from_web_page(
    sandbox: Sandbox, http: Http
) -> None:
    key = sandbox.create_restricted_key(["plan_read"])
    refused = await http("GET", "/v1/prices", key=key, Origin="https://evil.example.com")
    assert refused.code == 403
    assert "from a web page" in error_of(refused)["message"]
