"""Event destinations, and the thin events that they receive."""

import json
from collections.abc import Callable
from typing import Any

import pytest
import stripe

from datalayer_stripe.sandbox import Sandbox, StripeError
from tests.sandbox.conftest import SECRET, Http, Receiver, Shop, error_of, pay
from tests.sandbox.resources.test_webhook_endpoints import REMOTE_URLS
from tests.sandbox.schemas import check

PATH = "/v2/core/event_destinations"
INCLUDE = ["webhook_endpoint.signing_secret", "webhook_endpoint.url"]


def params(url: str, **changes: Any) -> Any:
    return {
        "name": "Thin events",
        "type": "webhook_endpoint",
        "event_payload": "thin",
        "enabled_events": ["v1.customer.updated"],
        "webhook_endpoint": {"url": url},
        **changes,
    }


@pytest.mark.gen_test
async def test_destination_receives_thin_events_of_its_types(
    sandbox: Sandbox, client: stripe.StripeClient, receiver: Receiver, new_receiver: Any
) -> None:
    chosen = new_receiver()
    destination = await client.v2.core.event_destinations.create_async(
        params(chosen.url, include=INCLUDE)
    )
    check(destination.to_dict())
    endpoint = destination.webhook_endpoint
    assert endpoint is not None
    assert endpoint.url == chosen.url
    assert endpoint.signing_secret is not None
    customer = sandbox.create_customer()
    sandbox.call("POST", f"/v1/customers/{customer['id']}", name="Ada")
    await sandbox.webhooks.settle()

    [(headers, body)] = chosen.requests
    check(json.loads(body))
    assert b"Ada" not in body
    snapshot = next(one for one in receiver.events if one["type"] == "customer.updated")
    thin = client.parse_event_notification(
        body, headers["Stripe-Signature"], endpoint.signing_secret
    )
    assert thin.type == "v1.customer.updated"
    assert thin.id != snapshot["id"]
    assert json.loads(body)["snapshot_event"] == snapshot["id"]
    fetched = await client.v2.core.events.retrieve_async(thin.id)
    check(fetched.to_dict())
    assert fetched.snapshot_event == snapshot["id"]
    assert fetched.to_dict()["changes"] == {"before": {"name": None}, "after": {"name": "Ada"}}
    related = json.loads(body)["related_object"]
    path = f"/v1/customers/{customer['id']}"
    assert related == {"id": customer["id"], "type": "customer", "url": path}
    assert {event["pending_webhooks"] for event in sandbox.events} == {0}


@pytest.mark.gen_test
async def test_url_of_each_object_that_a_thin_event_names_can_be_requested(
    sandbox: Sandbox, new_receiver: Callable[[], Receiver], shop: Shop, http: Http
) -> None:
    receiver = new_receiver()
    sandbox.create_event_destination(receiver.url, SECRET)
    sandbox.refund(pay(sandbox))
    sandbox.dispute(pay(sandbox))
    await sandbox.webhooks.settle()
    named = {event["related_object"]["type"]: event for event in receiver.events}
    assert {"payment_intent", "charge", "refund", "dispute"} <= set(named)
    for event in named.values():
        check(event)
        answer = await http("GET", event["related_object"]["url"])
        assert json.loads(answer.body)["id"] == event["related_object"]["id"]


@pytest.mark.gen_test
async def test_secret_is_in_the_answer_to_the_creation_only_and_the_url_on_request(
    client: stripe.StripeClient, receiver: Receiver
) -> None:
    destinations = client.v2.core.event_destinations
    hidden = await destinations.create_async(params(receiver.url))
    assert hidden.to_dict()["webhook_endpoint"] == {"signing_secret": None, "url": None}
    retrieved = await destinations.retrieve_async(hidden.id)
    assert retrieved.to_dict()["webhook_endpoint"] == {"signing_secret": None, "url": None}
    listed = await destinations.list_async({"include": ["webhook_endpoint.url"]})
    urls = [one.to_dict()["webhook_endpoint"]["url"] for one in listed.data]
    assert urls == [receiver.url]
    with pytest.raises(stripe.InvalidRequestError):
        await destinations.retrieve_async(hidden.id, {"include": [INCLUDE[0]]})


@pytest.mark.gen_test
async def test_destination_is_updated_disabled_enabled_and_deleted(
    sandbox: Sandbox, client: stripe.StripeClient, new_receiver: Callable[[], Receiver]
) -> None:
    destinations = client.v2.core.event_destinations
    first, second = new_receiver(), new_receiver()
    made = await destinations.create_async(params(first.url, metadata={"a": "1", "b": "2"}))
    changes: Any = {
        "description": "All",
        "enabled_events": ["*"],
        "metadata": {"a": None, "c": "3"},
        "name": "Renamed",
        "webhook_endpoint": {"url": second.url},
        "include": ["webhook_endpoint.url"],
    }
    updated = (await destinations.update_async(made.id, changes)).to_dict()
    check(updated)
    assert (updated["name"], updated["description"]) == ("Renamed", "All")
    assert updated["metadata"] == {"b": "2", "c": "3"}
    assert updated["webhook_endpoint"]["url"] == second.url

    disabled = await destinations.disable_async(made.id)
    assert disabled.to_dict()["status_details"] == {"disabled": {"reason": "user"}}
    sandbox.create_customer()
    assert (await destinations.enable_async(made.id)).status == "enabled"
    sandbox.create_customer()
    await sandbox.webhooks.settle()
    assert (len(first.requests), second.types) == (0, ["v1.customer.created"])

    await destinations.delete_async(made.id)
    assert (await destinations.list_async()).data == []
    with pytest.raises(stripe.InvalidRequestError) as missing:
        await destinations.retrieve_async(made.id)
    assert (missing.value.http_status, missing.value.code) == (404, "not_found")


@pytest.mark.parametrize(
    ("changes", "param"),
    [
        ({"event_payload": "snapshot"}, "event_payload"),
        ({"type": "amazon_eventbridge"}, "type"),
        ({"events_from": ["@accounts"]}, "events_from[0]"),
        ({"webhook_endpoint": {}}, "webhook_endpoint[url]"),
        ({"unknown": "x"}, "unknown"),
        *(({"webhook_endpoint": {"url": url}}, "webhook_endpoint[url]") for url in REMOTE_URLS),
    ],
)
@pytest.mark.gen_test
async def test_invalid_destination_is_refused(
    sandbox: Sandbox, http: Http, changes: dict[str, Any], param: str
) -> None:
    body = json.dumps(params("http://127.0.0.1:9/", **changes))
    answer = await http("POST", PATH, body, Content_Type="application/json")
    assert answer.code == 400
    assert error_of(answer)["param"] == param
    assert sandbox.call("GET", PATH)["data"] == []


@pytest.mark.parametrize("body", ["", "[]", "{", "[" * 100_000, '{"a":' * 100_000])
@pytest.mark.gen_test
async def test_body_of_the_api_v2_that_is_no_json_object_is_refused(http: Http, body: str) -> None:
    answer = await http("POST", PATH, body, Content_Type="application/json")
    assert answer.code == 400
    assert error_of(answer)["type"] == "invalid_request_error"


@pytest.mark.gen_test
async def test_body_of_the_api_v2_must_be_json(http: Http) -> None:
    answer = await http("POST", PATH, "name=x", Content_Type="application/x-www-form-urlencoded")
    assert answer.code == 400
    assert "application/json" in error_of(answer)["message"]


def test_account_has_at_most_16_destinations() -> None:
    sandbox = Sandbox()
    for _ in range(16):
        sandbox.call("POST", PATH, **params("http://127.0.0.1:9/"))
    with pytest.raises(StripeError, match="up to 16"):
        sandbox.call("POST", PATH, **params("http://127.0.0.1:9/"))


@pytest.mark.gen_test
async def test_event_is_delivered_again_to_the_destination(
    sandbox: Sandbox, receiver: Receiver, new_receiver: Callable[[], Receiver]
) -> None:
    thin = new_receiver()
    destination = sandbox.create_event_destination(thin.url, SECRET)
    sandbox.create_customer()
    await sandbox.webhooks.settle()
    [event] = sandbox.events
    attempt = await sandbox.webhooks.deliver(event["id"], destination["id"])
    assert (attempt.type, attempt.url) == ("v1.customer.created", thin.url)
    assert thin.events[0] == thin.events[1]
    assert len(receiver.requests) == 1


@pytest.mark.gen_test
async def test_unknown_thin_event_is_not_found(http: Http) -> None:
    answer = await http("GET", "/v2/core/events/evt_test_none")
    assert (answer.code, error_of(answer)["code"]) == (404, "not_found")
