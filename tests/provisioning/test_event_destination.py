"""Finding, creating and changing the service's event destination for thin events at Stripe."""

import pytest

from datalayer_stripe.errors import InvalidRequest, StripePermissionMissing
from datalayer_stripe.plugin_api.registry import Registry
from datalayer_stripe.provisioning.event_destination import (
    DestinationPlan,
    apply_destination,
    plan_destination,
    record_destination_secret,
    without_thin_event,
)
from datalayer_stripe.sandbox import Sandbox
from datalayer_stripe.stripe_api.client import StripeClient

URL = "http://127.0.0.1:9/api/iam/stripe/v1/webhook"
PATH = "/v2/core/event_destinations"
EVENTS = ("payment_intent.succeeded", "customer.deleted")


async def plan(client: StripeClient, *events: str, url: str = URL) -> DestinationPlan:
    return await plan_destination(client, url=url, events=events or EVENTS)


def changing_calls(sandbox: Sandbox) -> list[str]:
    return [call.path for call in sandbox.api.calls if call.method != "GET"]


@pytest.mark.gen_test
async def test_destination_is_created_once_with_the_thin_events_of_the_plugins(
    client: StripeClient, sandbox: Sandbox
) -> None:
    planned = await plan(client)
    assert planned.lines() == [f"create an event destination for {URL} with 2 types of thin events"]
    assert sandbox.call("GET", PATH)["data"] == [], "a plan changes nothing"
    created = await apply_destination(client, planned)
    assert created.secret is not None
    assert created.secret.get_secret_value().startswith("whsec_")
    assert created.secret.get_secret_value() not in repr(created)
    [stored] = sandbox.call("GET", PATH)["data"]
    assert stored["enabled_events"] == ["v1.customer.deleted", "v1.payment_intent.succeeded"]
    assert stored["event_payload"] == "thin"
    assert stored["events_from"] == ["@self"]
    assert stored["metadata"] == {"managed_by": "datalayer-stripe", "secret_sha256": "none"}
    assert created.is_unrecorded

    recorded = await record_destination_secret(client, created, created.secret)
    assert recorded.is_managed
    assert recorded.has_secret(created.secret) is True
    assert created.secret.get_secret_value() not in str(sandbox.call("GET", PATH))
    sandbox.api.calls.clear()
    again = await plan(client)
    assert again.is_unchanged
    assert (await apply_destination(client, again)).id == created.id
    assert changing_calls(sandbox) == []


@pytest.mark.gen_test
async def test_only_what_differs_is_changed(client: StripeClient, sandbox: Sandbox) -> None:
    made = await apply_destination(client, await plan(client))
    sandbox.call("POST", f"{PATH}/{made.id}/disable")
    sandbox.call("POST", f"{PATH}/{made.id}", metadata={"team": "billing"})
    planned = await plan(client, "customer.deleted", "refund.created")
    assert planned.lines() == [
        "add the event type v1.refund.created",
        "remove the event type v1.payment_intent.succeeded",
        "enable it",
    ]
    changed = await apply_destination(client, planned)
    assert (changed.id, changed.status) == (made.id, "enabled")
    assert changed.enabled_events == ("v1.customer.deleted", "v1.refund.created")
    assert changed.metadata == {
        "managed_by": "datalayer-stripe",
        "secret_sha256": "none",
        "team": "billing",
    }


@pytest.mark.gen_test
async def test_destination_that_was_made_by_hand_is_taken_over_and_others_are_left(
    client: StripeClient, sandbox: Sandbox
) -> None:
    other = sandbox.create_event_destination("http://127.0.0.1:9/other", "whsec_other")
    mine = sandbox.create_event_destination(URL, "whsec_mine", ["v1.customer.deleted"])
    old = {"id": "ed_test_old", "event_payload": "snapshot", "created": "2020-01-01T00:00:00Z"}
    sandbox.put({**sandbox.get(mine["id"]), **old})
    planned = await plan(client, "customer.deleted")
    assert planned.lines() == ["mark it with the metadata managed_by: datalayer-stripe"]
    assert (await apply_destination(client, planned)).id == mine["id"]
    assert changing_calls(sandbox) == [f"{PATH}/{mine['id']}"]
    sandbox.api.calls.clear()
    new = await apply_destination(client, await plan(client, url="http://127.0.0.1:9/new"))
    assert new.id not in (other["id"], mine["id"])
    assert changing_calls(sandbox) == [PATH]


@pytest.mark.gen_test
async def test_url_that_stripe_refuses_and_a_missing_permission_are_reported(
    sandbox: Sandbox, client: StripeClient
) -> None:
    with pytest.raises(InvalidRequest):
        await apply_destination(client, await plan(client, url="https://example.com/hook"))
    sandbox.dispatcher.restricted_keys[sandbox.secret_key] = frozenset({"webhook_read"})
    planned = await plan(client)
    with pytest.raises(StripePermissionMissing) as missing:
        await apply_destination(client, planned)
    assert missing.value.permission == "webhook_write"


def test_each_type_of_the_built_in_plugins_has_a_thin_event() -> None:
    types = Registry.load().types
    assert without_thin_event(types) == []
    assert without_thin_event([*types, "customer.source.created"]) == ["customer.source.created"]


@pytest.mark.gen_test
async def test_type_without_a_thin_event_is_left_to_the_webhook_endpoint(
    client: StripeClient,
) -> None:
    planned = await plan(client, "customer.deleted", "customer.source.created")
    assert planned.events == ("v1.customer.deleted",)
