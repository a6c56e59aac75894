"""Each recorded event has its effect when it is delivered unchanged to the webhook."""

import json
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from datalayer_stripe.sandbox import Sandbox
from datalayer_stripe.service import Service
from datalayer_stripe.testing.recordings import EVENTS
from tests.support.app import ACCOUNT, Api, json_of, recorded
from tests.support.shop import IAM_ROUTES, kept, rows

# Events that were recorded when the API had an older version, in a folder for each version.
OLD_EVENTS = Path(__file__).parents[1] / "data" / "events"
OLD_RECORDINGS = sorted(OLD_EVENTS.glob("*/*.json"))

SUBSCRIPTION = "sub_1xNnttCz7hWRKLEpT7zELPag"

pytestmark = pytest.mark.mongod


class Effect(NamedTuple):
    """The expected state after a delivery."""

    outcome: str
    credits: int = 0
    status: str = "none"
    ends: bool = False


EFFECTS = {
    "charge.refunded": Effect("processed", credits=0),
    "refund.created": Effect("processed", credits=0),
    "refund.updated": Effect("processed", credits=0),
    "refund.failed": Effect("processed", credits=50),
    "charge.dispute.created": Effect("processed", credits=0),
    "charge.dispute.funds_withdrawn": Effect("processed", credits=0),
    "charge.dispute.updated": Effect("processed", credits=0),
    "charge.dispute.closed": Effect("processed", credits=600),
    "charge.dispute.funds_reinstated": Effect("processed", credits=600),
    "customer.created": Effect("ignored"),
    "customer.subscription.created": Effect("processed", status="active"),
    "customer.subscription.updated.cancel-scheduled": Effect(
        "processed", status="active", ends=True
    ),
    "customer.subscription.updated.past-due": Effect("processed", status="past_due"),
    "customer.subscription.deleted": Effect("processed", status="canceled", ends=True),
    "invoice.paid": Effect("processed", status="active"),
    "invoice.payment_failed": Effect("processed", status="past_due"),
    "payment_intent.payment_failed": Effect("ignored"),
    "payment_intent.succeeded.after-decline": Effect("processed", credits=600),
    "payment_intent.succeeded": Effect("processed", credits=50),
    "customer.deleted": Effect("processed"),
    "customer.subscription.updated": Effect("processed", status="active"),
    "price.created": Effect("processed"),
    "price.updated": Effect("processed"),
    "product.created": Effect("processed"),
    "product.updated": Effect("processed"),
    "setup_intent.succeeded": Effect("processed"),
    **dict.fromkeys(
        (
            "charge.failed",
            "charge.succeeded",
            "customer.updated",
            "invoice.created",
            "invoice.finalized",
            "invoice.payment_action_required",
            "invoice.payment_succeeded",
            "invoice.voided",
            "payment_intent.canceled",
            "payment_intent.created",
            "payment_intent.requires_action",
            "payment_method.attached",
            "payment_method.detached",
            "setup_intent.canceled",
            "setup_intent.created",
            "setup_intent.requires_action",
            "setup_intent.setup_failed",
        ),
        Effect("ignored"),
    ),
}
# Recorded events whose objects must also be at Stripe: the subscription of an invoice, and the
# refund of a charge.
RELATED = {
    "charge.refunded": "refund.created",
    "invoice.paid": "customer.subscription.created",
    "invoice.payment_failed": "customer.subscription.updated.past-due",
}
# The recorded payment of each refund and dispute.
PAID_BY = {
    name: f"payment_intent.succeeded{'.after-decline' if 'dispute' in name else ''}"
    for name in EFFECTS
    if name.startswith(("charge.dispute.", "charge.refunded", "refund."))
}


def old_recording(path: Path) -> bytes:
    """Return the body of a delivery that was recorded in an older API version."""
    return path.read_bytes()


def put_at_stripe(sandbox: Sandbox, name: str) -> None:
    """Put the object of a recorded event into the sandbox."""
    obj = json.loads(recorded(name))["data"]["object"]
    sandbox.put(obj)
    if name in RELATED:
        put_at_stripe(sandbox, RELATED[name])


async def subscription_of(api: Api) -> dict[str, Any]:
    answer = await api.get(f"{IAM_ROUTES}/subscription")
    return dict(json_of(answer)["subscription"])


def test_each_recorded_event_has_an_expected_effect() -> None:
    recorded_names = {path.stem for path in EVENTS.glob("*.json")}
    assert recorded_names == set(EFFECTS), "state the effect of each recorded event in EFFECTS"


@pytest.mark.parametrize("name", EFFECTS)
@pytest.mark.gen_test
async def test_recorded_event_has_its_effect_once(
    api: Api, service: Service, sandbox: Sandbox, name: str
) -> None:
    await check_effect(api, service, sandbox, name, recorded(name))


@pytest.mark.parametrize("path", OLD_RECORDINGS, ids=lambda path: f"{path.stem}-{path.parent.name}")
@pytest.mark.gen_test
async def test_event_of_an_older_api_version_has_the_same_effect(
    api: Api, service: Service, sandbox: Sandbox, path: Path
) -> None:
    body = old_recording(path)
    assert json.loads(body)["api_version"] == path.parent.name
    await check_effect(api, service, sandbox, path.stem, body)


async def check_effect(
    api: Api, service: Service, sandbox: Sandbox, name: str, body: bytes
) -> None:
    """Deliver a recording twice, and check that it has its effect once."""
    effect = EFFECTS[name]
    if name in PAID_BY:
        assert (await api.deliver(recorded(PAID_BY[name]))).code == 200
    put_at_stripe(sandbox, name)
    answer = await api.deliver(body)
    event_id = json.loads(body)["id"]
    assert answer.code == 200
    assert json_of(answer) == {"received": True, "event": event_id, "outcome": effect.outcome}
    for again in (False, True):
        if again:
            outcome = json_of(await api.deliver(body))["outcome"]
            assert outcome == ("ignored" if effect.outcome == "ignored" else "duplicate")
        assert await api.credits() == effect.credits
        shown = await subscription_of(api)
        assert (shown["status"], shown["cancel_at_period_end"]) == (effect.status, effect.ends)
        assert shown["id"] == (None if effect.status == "none" else SUBSCRIPTION)
    if effect.outcome == "ignored":
        assert await kept(service) == {}
        return
    stored = next(row for row in await rows(service, "events") if row["_id"] == event_id)
    assert stored["type"] == json.loads(body)["type"]
    assert {run["status"] for run in stored["handlers"].values()} == {"done"}


@pytest.mark.gen_test
async def test_all_recorded_events_in_order_lead_to_the_expected_state(
    api: Api, service: Service, sandbox: Sandbox
) -> None:
    story = sorted(EFFECTS, key=lambda name: json.loads(recorded(name))["created"])
    for name in story:
        put_at_stripe(sandbox, name)
        assert (await api.deliver(recorded(name))).code == 200
    assert await api.credits() == 650
    shown = await subscription_of(api)
    assert (shown["status"], shown["account_uid"]) == ("canceled", ACCOUNT)
    # The refund failed, and the dispute was won.
    moved = sorted(row["credits"] for row in await rows(service, "ledger"))
    assert moved == [-600, -50, 50, 50, 600, 600]
