"""Shapes of older API versions."""

from collections.abc import Callable
from typing import Any

import pytest
import stripe

from datalayer_stripe.sandbox import Sandbox
from tests.sandbox.conftest import SECRET, Receiver, Shop, create_subscription
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
