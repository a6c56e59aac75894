"""Check the laws after a run of real processes: compare the database with the sandbox."""

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from pymongo import MongoClient

from datalayer_stripe.models import SubscriptionSnapshot
from datalayer_stripe.sandbox import Sandbox
from datalayer_stripe.stripe_api.objects import subscription_snapshot
from tests.support.shop import Shop

Row = dict[str, Any]


def check_database(mongodb_url: str, sandbox: Sandbox, shop: Shop) -> dict[str, int]:
    """Check all laws; return the number of payments, and of lost and doubled ones."""
    with MongoClient[Row](mongodb_url, tz_aware=True) as client:
        database = client.get_database("datalayer_stripe")
        found = {
            name: {row["_id"]: row for row in database[name].find()}
            for name in ("accounts", "events", "ledger", "subscriptions")
        }
    paid = {
        intent["id"]: intent
        for intent in _listed(sandbox, "/v1/payment_intents")
        if intent["status"] == "succeeded" and "credits" in intent["metadata"]
    }
    lost = paid.keys() - found["ledger"].keys()
    due = Counter[str]()
    for intent in paid.values():
        due[intent["metadata"]["account_uid"]] += int(intent["metadata"]["credits"])
    balances = Counter({uid: row["credits"] for uid, row in found["accounts"].items()})
    sums = Counter[str]()
    for row in found["ledger"].values():
        sums[row["account_uid"]] += row["credits"]
    doubled = sum((balances - due).values())
    assert not lost, f"{len(lost)} payments have no ledger row"
    assert not doubled, f"credits that were not paid for: {balances - due}"
    assert +balances == +due, "a balance is not what was paid for"
    assert +balances == +sums, "a balance is not the sum of its ledger"
    assert found["ledger"].keys() == paid.keys(), "a ledger row has no payment"
    assert not [row["_id"] for row in found["events"].values() if row.get("failed")]
    _check_snapshots(found["subscriptions"], sandbox, shop)
    return {"payments": len(paid), "lost": len(lost), "doubled": doubled}


def check_buyer(sandbox: Sandbox, account: str, bought: int) -> None:
    """Check that an account has one customer, and was charged once for each purchase."""
    customers = _of(sandbox, "/v1/customers", account)
    assert len(customers) == 1, "customers"
    subscriptions = [
        one
        for one in _listed(sandbox, "/v1/subscriptions", status="all")
        if one["customer"] == customers[0]["id"]
    ]
    assert len(subscriptions) == 1, "subscriptions"
    assert len(_of(sandbox, "/v1/payment_intents", account)) == bought, "PaymentIntents"


def _check_snapshots(kept: Mapping[str, Row], sandbox: Sandbox, shop: Shop) -> None:
    expected = {}
    for listed in _listed(sandbox, "/v1/subscriptions", status="all"):
        subscription = sandbox.call(
            "GET",
            f"/v1/subscriptions/{listed['id']}",
            expand=["latest_invoice", "items.data.price.product"],
        )
        expected[listed["id"]] = subscription_snapshot(
            subscription,
            account_uid=subscription["metadata"]["account_uid"],
            product_ids={shop.plan_product},
        )
    ours = {
        row["_id"]: SubscriptionSnapshot.model_validate({**row, "id": row["_id"]})
        for row in kept.values()
    }
    assert ours.keys() == expected.keys(), "the subscriptions are not those of Stripe"
    for key, snapshot in ours.items():
        assert snapshot == expected[key], "a snapshot is not Stripe's object"


def _of(sandbox: Sandbox, path: str, account: str) -> list[Row]:
    return [one for one in _listed(sandbox, path) if one["metadata"].get("account_uid") == account]


def _listed(sandbox: Sandbox, path: str, **params: Any) -> Iterator[Row]:
    """Yield all objects that Stripe lists at a path, page by page."""
    page = sandbox.call("GET", path, limit=100, **params)
    yield from page["data"]
    while page["has_more"]:
        last = page["data"][-1]["id"]
        page = sandbox.call("GET", path, limit=100, starting_after=last, **params)
        yield from page["data"]
