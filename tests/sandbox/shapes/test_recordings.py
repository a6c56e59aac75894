"""The sandbox's objects have the fields of recorded Stripe objects."""

import json
from pathlib import Path
from typing import Any

import pytest

from datalayer_stripe.sandbox import Sandbox, SandboxCardError
from datalayer_stripe.testing.recordings import EVENTS
from tests.sandbox.conftest import Shop
from tests.sandbox.schemas import check

# Recorded at Stripe, and the model of the sandbox. The other files were recorded in the sandbox.
RECORDED = [path for path in sorted(EVENTS.glob("*.json")) if b'"evt_1xNn' in path.read_bytes()]


# Null in the recordings, although the schemas of charges and payment methods do not allow null.
IGNORED_FIELDS = {"radar_options"}


def field_paths(value: Any, path: str = "") -> set[str]:
    """Return the paths of all fields; a null field has no paths below it."""
    if isinstance(value, list):
        return set().union(*(field_paths(item, f"{path}[]") for item in value))
    if not isinstance(value, dict):
        return set()
    found: set[str] = set()
    for name, inner in value.items():
        if name not in IGNORED_FIELDS:
            found |= {f"{path}.{name}"} | field_paths(inner, f"{path}.{name}")
    return found


def replay_recorded_scenario(sandbox: Sandbox, shop: Shop) -> None:
    """Repeat the recorded scenario: decline, pay, refund, dispute, subscribe, fail, cancel."""
    for card in ("4000000000009995", "4242424242424242"):
        intent = sandbox.call(
            "POST",
            "/v1/payment_intents",
            amount=500,
            currency="usd",
            customer=shop.customer,
            metadata={"account_uid": "u", "credits": "50", "price_id": shop.price},
            automatic_payment_methods={"enabled": True, "allow_redirects": "never"},
        )
        try:
            sandbox.confirm_payment(intent["client_secret"], card)
        except SandboxCardError:
            sandbox.confirm_payment(intent["client_secret"])
    sandbox.settle_refund(sandbox.refund(intent["id"])["id"], fail=True)
    dispute = sandbox.dispute(intent["id"])["id"]
    text = {"uncategorized_text": "The credits were used."}
    sandbox.call("POST", f"/v1/disputes/{dispute}", evidence=text)
    sandbox.close_dispute(dispute, won=True)
    method = sandbox.call("POST", "/v1/payment_methods/pm_card_visa/attach", customer=shop.customer)
    subscription = sandbox.call(
        "POST",
        "/v1/subscriptions",
        customer=shop.customer,
        items=[{"price": shop.monthly}],
        default_payment_method=method["id"],
        metadata={"account_uid": "u"},
    )["id"]
    sandbox.renew(subscription)
    sandbox.renew(subscription, fail=True)
    sandbox.cancel_subscription(subscription, now=False)
    sandbox.cancel_subscription(subscription)


def allowed_differences(name: str) -> set[str]:
    """Return the fields that differ because the recorded objects had other values."""
    return {
        # The recorded customer has the metadata of our own accounts.
        "customer.created": {".metadata.account_uid"},
    }.get(name, set())


@pytest.mark.parametrize("path", RECORDED, ids=lambda path: path.stem)
def test_event_has_fields_of_recorded_event(sandbox: Sandbox, shop: Shop, path: Path) -> None:
    recorded = json.loads(path.read_text())
    replay_recorded_scenario(sandbox, shop)
    events = [event for event in sandbox.events if event["type"] == recorded["type"]]
    assert events
    status = recorded["data"]["object"].get("status")
    comparable = [event for event in events if event["data"]["object"].get("status") == status]
    assert comparable, f"no {recorded['type']} with the status {status}"
    assert field_paths({**recorded, "data": None}) == field_paths({**comparable[-1], "data": None})
    expected = field_paths(recorded["data"]["object"]) - {".items.data[].price.metadata.credits"}
    differences = [
        (expected ^ field_paths(event["data"]["object"])) - allowed_differences(recorded["type"])
        for event in comparable
    ]
    assert set() in differences, min(differences, key=len)


def test_schema_check_rejects_unknown_field_and_wrong_type() -> None:
    product = Sandbox().create_product(name="x")
    check(product)
    with pytest.raises(AssertionError, match="not in Stripe's schema"):
        check({**product, "colour": "red"})
    with pytest.raises(AssertionError, match="created"):
        check({**product, "created": 1.5})
