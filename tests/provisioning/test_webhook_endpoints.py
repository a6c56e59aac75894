"""Finding, creating and changing the service's webhook endpoint at Stripe."""

from typing import Any

import pytest
from pydantic import SecretStr
from tornado.ioloop import IOLoop

from datalayer_stripe.errors import InvalidRequest, StripePermissionMissing
from datalayer_stripe.metrics import Metrics
from datalayer_stripe.provisioning.webhook_endpoints import (
    EndpointPlan,
    apply_endpoint,
    list_endpoints,
    plan_endpoint,
    record_secret,
)
from datalayer_stripe.sandbox import Sandbox
from datalayer_stripe.stripe_api.client import StripeClient
from datalayer_stripe.stripe_api.transport import STRIPE_VERSION
from tests.support.shop import objects

URL = "http://127.0.0.1:9/api/iam/stripe/v1/webhook"
PATH = "/v1/webhook_endpoints"
EVENTS = ("payment_intent.succeeded", "customer.deleted")


async def plan(client: StripeClient, *events: str, url: str = URL) -> EndpointPlan:
    return await plan_endpoint(client, url=url, events=events or EVENTS, api_version=STRIPE_VERSION)


def changing_calls(sandbox: Sandbox) -> list[str]:
    return [call.method for call in sandbox.api.calls if call.method != "GET"]


@pytest.mark.gen_test
async def test_endpoint_is_created_once_with_the_events_of_the_plugins(
    client: StripeClient, sandbox: Sandbox
) -> None:
    planned = await plan(client)
    assert planned.creates
    assert planned.lines() == [
        f"create a webhook endpoint for {URL} with 2 event types and API version {STRIPE_VERSION}"
    ]
    assert objects(sandbox, PATH) == [], "a plan changes nothing"
    created = await apply_endpoint(client, planned)
    assert created.secret is not None
    assert created.secret.get_secret_value().startswith("whsec_")
    assert created.secret.get_secret_value() not in repr(created)

    [stored] = objects(sandbox, PATH)
    assert stored["enabled_events"] == sorted(EVENTS)
    assert stored["api_version"] == STRIPE_VERSION
    assert stored["metadata"] == {"managed_by": "datalayer-stripe", "secret_sha256": "none"}

    sandbox.api.calls.clear()
    again = await plan(client)
    assert again.is_unchanged
    assert again.lines() == [f"webhook endpoint {created.id}: unchanged"]
    assert (await apply_endpoint(client, again)).id == created.id
    assert changing_calls(sandbox) == []


@pytest.mark.gen_test
async def test_event_types_that_are_added_are_named_in_one_line(
    client: StripeClient, sandbox: Sandbox
) -> None:
    endpoint = sandbox.call("POST", PATH, url=URL, enabled_events=["*"])
    planned = await plan(client, "customer.deleted", "price.deleted", "refund.created")
    assert planned.lines() == [
        f"webhook endpoint {endpoint['id']}: {line}"
        for line in (
            "add 3 event types: customer.deleted, price.deleted, refund.created",
            "remove the event type *",
            "mark it with the metadata managed_by: datalayer-stripe",
        )
    ]


@pytest.mark.gen_test
async def test_only_what_differs_is_changed(client: StripeClient, sandbox: Sandbox) -> None:
    endpoint = await apply_endpoint(client, await plan(client))
    sandbox.call("POST", f"{PATH}/{endpoint.id}", disabled=True, metadata={"team": "billing"})
    planned = await plan(client, "customer.deleted", "refund.created")
    assert planned.added == ("refund.created",)
    assert planned.removed == ("payment_intent.succeeded",)
    assert planned.lines() == [
        f"webhook endpoint {endpoint.id}: {line}"
        for line in (
            "add the event type refund.created",
            "remove the event type payment_intent.succeeded",
            "enable it",
        )
    ]
    await apply_endpoint(client, planned)
    [stored] = objects(sandbox, PATH)
    assert stored["enabled_events"] == ["customer.deleted", "refund.created"]
    assert stored["status"] == "enabled"
    assert stored["metadata"] == {
        "managed_by": "datalayer-stripe",
        "secret_sha256": "none",
        "team": "billing",
    }
    assert (await plan(client, "customer.deleted", "refund.created")).is_unchanged


@pytest.mark.gen_test
async def test_endpoints_of_others_are_not_touched(client: StripeClient, sandbox: Sandbox) -> None:
    other = sandbox.create_webhook_endpoint(URL + "/other", "whsec_x", ["charge.failed"])
    before = dict(other)
    await apply_endpoint(client, await plan(client))
    assert sandbox.get(other["id"]) == before
    assert len(objects(sandbox, PATH)) == 2


@pytest.mark.gen_test
async def test_endpoint_made_by_hand_at_the_same_url_is_adopted(
    client: StripeClient, sandbox: Sandbox
) -> None:
    by_hand = sandbox.create_webhook_endpoint(URL, "whsec_x", ["*"], "2024-06-20")
    planned = await plan(client)
    assert planned.has_other_version
    await apply_endpoint(client, planned)
    [stored] = objects(sandbox, PATH)
    assert stored["id"] == by_hand["id"]
    assert stored["metadata"] == {"managed_by": "datalayer-stripe"}
    assert stored["enabled_events"] == sorted(EVENTS)


@pytest.mark.gen_test
async def test_successor_of_a_rotation_is_not_taken_for_the_endpoint(
    client: StripeClient, sandbox: Sandbox
) -> None:
    sandbox.call(
        "POST",
        PATH,
        url=URL,
        enabled_events=["terminal.reader.action_failed"],
        metadata={"managed_by": "datalayer-stripe", "rotation": "successor"},
    )
    assert (await plan(client)).creates


@pytest.mark.gen_test
async def test_digest_tells_whether_a_secret_is_the_endpoints(
    client: StripeClient, sandbox: Sandbox
) -> None:
    endpoint = await apply_endpoint(client, await plan(client))
    assert endpoint.secret is not None
    assert endpoint.is_unrecorded
    assert endpoint.has_secret(endpoint.secret) is False, "no digest is stored yet"
    recorded = await record_secret(client, endpoint, endpoint.secret, metadata={"team": "x"})
    [listed] = await list_endpoints(client)
    assert listed == recorded
    assert not listed.is_unrecorded
    assert listed.has_secret(endpoint.secret) is True
    assert listed.has_secret(SecretStr("whsec_another")) is False
    assert listed.metadata["team"] == "x"
    assert endpoint.secret.get_secret_value() not in str(objects(sandbox, PATH))


@pytest.mark.gen_test
async def test_limit_of_16_endpoints_is_reported(client: StripeClient, sandbox: Sandbox) -> None:
    for number in range(16):
        sandbox.call("POST", PATH, url=f"{URL}/{number}", enabled_events=["*"])
    with pytest.raises(InvalidRequest, match="maximum of 16 test webhook endpoints"):
        await apply_endpoint(client, await plan(client))


@pytest.mark.parametrize(
    ("permissions", "lacking"),
    [((), "webhook_read"), (("webhook_read", "plan_write"), "webhook_write")],
)
@pytest.mark.gen_test
async def test_lacking_permission_is_named(
    io_loop: IOLoop, sandbox: Sandbox, permissions: tuple[str, ...], lacking: str
) -> None:
    key = sandbox.create_restricted_key(permissions)
    client = StripeClient(key, metrics=Metrics(), api_base=sandbox.url)
    try:
        with pytest.raises(StripePermissionMissing) as raised:
            await apply_endpoint(client, await plan(client))
    finally:
        await client.close()
    assert raised.value.permission == lacking
    assert objects(sandbox, PATH) == []


@pytest.mark.gen_test
async def test_key_with_the_permission_creates_the_endpoint(
    io_loop: IOLoop, sandbox: Sandbox
) -> None:
    key = sandbox.create_restricted_key(["webhook_write"])
    client = StripeClient(key, metrics=Metrics(), api_base=sandbox.url)
    try:
        made: Any = await apply_endpoint(client, await plan(client))
    finally:
        await client.close()
    assert made.id.startswith("we_")
