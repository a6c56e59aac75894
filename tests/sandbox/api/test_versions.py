"""Shapes and parameters of older API versions."""

import json
from collections.abc import Callable
from typing import Any

import pytest
import stripe
from tornado.httpclient import HTTPResponse

from datalayer_stripe.sandbox import Sandbox
from tests.sandbox.conftest import (
    FORM,
    SECRET,
    Http,
    Receiver,
    Shop,
    create_subscription,
    error_of,
)
from tests.sandbox.schemas import check


@pytest.mark.gen_test
async def test_endpoint_of_old_api_version_receives_old_shapes(
    sandbox: Sandbox,
    client: stripe.StripeClient,
    shop: Shop,
    new_receiver: Callable[[], Receiver],
) -> None:
    old, new = new_receiver(), new_receiver()
    sandbox.create_webhook_endpoint(old.url, SECRET, api_version="2024-06-20")
    sandbox.create_webhook_endpoint(new.url, SECRET, api_version="2025-09-30.clover")
    subscription = create_subscription(sandbox, shop)
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
    assert "items" not in previous, "apart from the period, the items have not changed"

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

    retrieved = await client.v1.subscriptions.retrieve_async(
        subscription["id"], options={"stripe_version": "2024-06-20"}
    )
    assert retrieved.current_period_end == item["current_period_end"]


@pytest.mark.parametrize("kind", ["payment_intents", "setup_intents"])
@pytest.mark.gen_test
async def test_payment_method_types_cannot_be_set_since_endive(http: Http, kind: str) -> None:
    body = "payment_method_types[]=card"
    if kind == "payment_intents":
        body += "&amount=500&currency=usd"

    async def create(**headers: str) -> HTTPResponse:
        return await http("POST", f"/v1/{kind}", body, Content_Type=FORM, **headers)

    refused = await create(Stripe_Version="2026-10-28.endive")
    error = error_of(refused)
    assert (refused.code, error["param"]) == (400, "payment_method_types")
    assert error["code"] == "payment_method_types_no_longer_supported"
    assert (await create(Stripe_Version="2026-08-26.dahlia")).code == 200
    assert (await create()).code == 200, "a request without a version, as of the Stripe CLI"
    [newest, *_] = json.loads((await http("GET", f"/v1/{kind}")).body)["data"]
    assert newest["payment_method_types"] == ["card"], "answers still have the field"


@pytest.mark.parametrize("kind", ["payment_intents", "setup_intents"])
@pytest.mark.parametrize(
    "other",
    [
        "automatic_payment_methods[enabled]=true",
        "excluded_payment_method_types[]=link",
        "payment_method_configuration=pmc_example",
        "payment_method_types[]=card",
    ],
)
@pytest.mark.gen_test
async def test_allowed_types_exclude_other_choices_of_payment_methods(
    http: Http, kind: str, other: str
) -> None:
    body = "allowed_payment_method_types[]=card"
    if kind == "payment_intents":
        body += "&amount=500&currency=usd"
    both = await http("POST", f"/v1/{kind}", f"{body}&{other}", Content_Type=FORM)
    assert both.code == 400
    assert error_of(both)["message"].startswith("You may only specify one of these parameters: ")
    alone = await http("POST", f"/v1/{kind}", body, Content_Type=FORM)
    intent = json.loads(alone.body)
    assert intent["allowed_payment_method_types"] == ["card"]
    assert intent["automatic_payment_methods"] is None
