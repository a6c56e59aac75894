"""The summary that the panel shows."""

import json

import pytest

from datalayer_stripe.sandbox import Sandbox, Shopfront
from tests.sandbox.conftest import Http, Shop, pay


@pytest.mark.gen_test
async def test_overview_contains_disputes(sandbox: Sandbox, http: Http) -> None:
    made = sandbox.dispute(pay(sandbox))
    overview = await http("GET", "/sandbox/overview", key=None)
    assert made["id"].encode() in overview.body


@pytest.mark.gen_test
async def test_overview_contains_facts_of_shop(sandbox: Sandbox, http: Http) -> None:
    assert json.loads((await http("GET", "/sandbox/overview", key=None)).body)["shop"] is None

    async def facts() -> dict[str, str]:
        return {"Balance": "50 credits"}

    sandbox.shop = Shopfront(name="Checkout page", url="http://127.0.0.1:9700/", facts=facts)
    shown = json.loads((await http("GET", "/sandbox/overview", key=None)).body)
    assert shown["shop"] == {
        "name": "Checkout page",
        "url": "http://127.0.0.1:9700/",
        "facts": {"Balance": "50 credits"},
    }


@pytest.mark.gen_test
async def test_overview_is_not_modified_until_something_changes(
    sandbox: Sandbox, http: Http, shop: Shop
) -> None:
    subscription = sandbox.call(
        "POST",
        "/v1/subscriptions",
        customer=shop.customer,
        items=[{"price": shop.monthly}],
        payment_behavior="default_incomplete",
        expand=["latest_invoice.confirmation_secret"],
    )
    secret = subscription["latest_invoice"]["confirmation_secret"]["client_secret"]
    intent_id = secret.split("_secret_")[0]
    sandbox.confirm_payment(secret)
    sandbox.refund(intent_id, 900)
    sandbox.webhooks.hold()
    first = await http("GET", "/sandbox/overview", key=None)
    shown = json.loads(first.body)
    assert shown["customers"] == [{"id": shop.customer, "name": "Ada", "email": "ada@example.com"}]
    assert [(s["status"], s["amount"]) for s in shown["subscriptions"]] == [("active", 2900)]
    (payment,) = shown["payments"]
    assert (payment["id"], payment["status"]) == (intent_id, "succeeded")
    assert (payment["amount"], payment["amount_refunded"]) == (2900, 900)
    assert payment["receipt_url"].startswith(sandbox.url)
    assert shown["webhooks"] == {"copies": 1, "drops": 0, "held": 0, "holding": True}
    etag = first.headers["ETag"]
    again = await http("GET", "/sandbox/overview", key=None, If_None_Match=etag)
    assert again.code == 304
    sandbox.advance(60)
    later = await http("GET", "/sandbox/overview", key=None, If_None_Match=etag)
    assert json.loads(later.body)["offset"] == 60
