"""What the sandbox makes looks like what was recorded."""

import json
from pathlib import Path
from typing import Any

import pytest

from datalayer_stripe.sandbox import Sandbox, SandboxCardError
from datalayer_stripe.testing.recordings import EVENTS
from tests.sandbox.conftest import Shop
from tests.sandbox.schemas import check

# Those by which the sandbox was made; the others it has recorded itself.
RECORDED = [path for path in sorted(EVENTS.glob("*.json")) if b'"evt_1xNn' in path.read_bytes()]

# The schema of a charge and a payment method has no null here, the recordings have.
KNOWN = {"radar_options"}


def keys(value: Any, path: str = "") -> set[str]:
    """The paths of all fields; a field that is null has none below it."""
    if isinstance(value, list):
        return set().union(*(keys(item, f"{path}[]") for item in value))
    if not isinstance(value, dict):
        return set()
    found: set[str] = set()
    for name, inner in value.items():
        if name not in KNOWN:
            found |= {f"{path}.{name}"} | keys(inner, f"{path}.{name}")
    return found


def play(sandbox: Sandbox, shop: Shop) -> None:
    """The story of the recordings: pay, be declined, refund, dispute, subscribe, fail, cancel."""
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


def allowed_difference(name: str) -> set[str]:
    """Fields below a value that is null on one side only, by the story that was told."""
    return {
        # The recorded metadata holds what our own prices and accounts have.
        "customer.created": {".metadata.account_uid"},
    }.get(name, set())


@pytest.mark.parametrize("path", RECORDED, ids=lambda path: path.stem)
def test_events_have_the_fields_of_the_recorded_ones(
    sandbox: Sandbox, shop: Shop, path: Path
) -> None:
    recorded = json.loads(path.read_text())
    play(sandbox, shop)
    made = [event for event in sandbox.events if event["type"] == recorded["type"]]
    assert made
    status = recorded["data"]["object"].get("status")
    alike = [event for event in made if event["data"]["object"].get("status") == status]
    assert alike, f"no {recorded['type']} with the status {status}"
    assert keys({**recorded, "data": None}) == keys({**alike[-1], "data": None})
    wanted = keys(recorded["data"]["object"]) - {".items.data[].price.metadata.credits"}
    differences = [
        (wanted ^ keys(event["data"]["object"])) - allowed_difference(recorded["type"])
        for event in alike
    ]
    assert set() in differences, min(differences, key=len)


def test_a_field_that_stripe_has_not_is_noticed() -> None:
    product = Sandbox().create_product(name="x")
    check(product)
    with pytest.raises(AssertionError, match="has not"):
        check({**product, "colour": "red"})
    with pytest.raises(AssertionError, match="created"):
        check({**product, "created": 1.5})
