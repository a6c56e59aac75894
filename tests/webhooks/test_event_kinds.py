"""The same story by snapshot events, by thin events, and by both at once: one effect each."""

from collections.abc import Sequence
from datetime import UTC, datetime

import pytest

from datalayer_stripe import Context, Event, Plugin
from datalayer_stripe.reconciliation.findings import Finding
from datalayer_stripe.sandbox import Sandbox
from datalayer_stripe.service import Service
from tests.support.app import WEBHOOK_SECRET, Api
from tests.support.shop import WEBHOOK_ROUTE, Buyer, rows

THIN_SECRET = "whsec_rolledRolledRolledRolled00"
KINDS = {"snapshot": {"event"}, "thin": {"v2"}, "both": {"event", "v2"}}

# The products were created before the service received events.
CATALOG = ("price.created", "product.created")

mailer = Plugin("mailer")


@mailer.on("payment_intent.succeeded", "invoice.paid", "charge.refunded", "refund.created")
async def count(event: Event, ctx: Context) -> None:
    ctx.collection.update_one({"_id": event.type}, {"$inc": {"mails": 1}}, upsert=True)


@pytest.fixture
def extra_plugins() -> Sequence[Plugin]:
    return [mailer]


def listen(sandbox: Sandbox, api: Api, kind: str) -> None:
    """Send the sandbox's events of a kind, or of both kinds, to the service."""
    url = api.url + WEBHOOK_ROUTE
    if kind != "thin":
        sandbox.create_webhook_endpoint(url, WEBHOOK_SECRET)
    if kind != "snapshot":
        sandbox.create_event_destination(url, THIN_SECRET)


async def tell(buyer: Buyer) -> None:
    """Subscribe, buy two packages, and refund one of them in full and the other in part."""
    await buyer.subscribe()
    for amount in (None, 200):
        intent = await buyer.buy()
        buyer.sandbox.refund(intent["id"], amount)
        await buyer.sandbox.webhooks.settle(60)


async def check(service: Service, buyer: Buyer) -> None:
    """Check that the story had one effect, and that nothing is left to do."""
    assert await buyer.credits() == 30
    ledger = await rows(service, "ledger")
    assert sorted((row["kind"], row["credits"]) for row in ledger) == [
        ("refund", -50),
        ("refund", -20),
        ("top-up", 50),
        ("top-up", 50),
    ]
    assert (await buyer.plan())["status"] == "active"
    mails = {row["_id"]: row["mails"] for row in await rows(service, "plugin_mailer")}
    assert mails == {
        "payment_intent.succeeded": 3,
        "invoice.paid": 1,
        "charge.refunded": 2,
        "refund.created": 2,
    }
    stored = await rows(service, "events")
    wanted = {
        event["id"]
        for event in buyer.sandbox.events
        if service.registry.plugins_for(event["type"]) and event["type"] not in CATALOG
    }
    assert {event["_id"] for event in stored} == wanted, "the ids of the snapshot events"
    assert await undelivered(service, buyer) == []


async def undelivered(service: Service, buyer: Buyer) -> list[str]:
    """Return the events that a reconciliation processes, and that were sent to the service."""
    found: list[Finding] = []
    since = datetime.fromtimestamp(0, UTC)
    await service.reconciliation(on_finding=found.append).run(since)
    assert await buyer.credits() == 30
    return [one.detail for one in found if one.detail.partition(":")[0] not in CATALOG]


def delivered(sandbox: Sandbox) -> set[str]:
    """Return which kinds of events the sandbox has delivered."""
    return {"v2" if one.type.startswith("v1.") else "event" for one in sandbox.webhooks.attempts}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.gen_test
async def test_story_has_one_effect(
    api: Api, service: Service, sandbox: Sandbox, buyer: Buyer, kind: str
) -> None:
    listen(sandbox, api, kind)
    await tell(buyer)
    await check(service, buyer)
    assert delivered(sandbox) == KINDS[kind]


@pytest.mark.mongod
@pytest.mark.parametrize("kind", ["thin", "both"])
@pytest.mark.gen_test
async def test_concurrent_copies_of_both_kinds_have_one_effect(
    api: Api, service: Service, sandbox: Sandbox, buyer: Buyer, kind: str
) -> None:
    listen(sandbox, api, kind)
    sandbox.webhooks.duplicate(4)
    await tell(buyer)
    await check(service, buyer)
    assert delivered(sandbox) == KINDS[kind]
