"""Verified events with unusual content are stored and processed, and never answered 500."""

import itertools
import json
from typing import Any

import pytest

from datalayer_stripe import Context, Event, Plugin
from datalayer_stripe.sandbox.delivery.webhooks import Webhooks
from datalayer_stripe.service import Service
from tests.support.app import ACCOUNT, Api, changed, json_of, recorded
from tests.support.shop import Buyer, rows

PAID = recorded("payment_intent.succeeded")

both_stores = pytest.mark.parametrize(
    "store", ["memory", pytest.param("mongod", marks=pytest.mark.mongod)]
)

UNUSUAL: dict[str, Any] = {
    "integer above 64 bits": {"large": 2**64},
    "key with NUL": {"a\0b": 1},
    "key with a dollar and dots": {"$set": {"a.b": 1}},
    "empty key": {"": {"": ""}},
    "deep": json.loads("[" * 150 + "]" * 150),
    "value with NUL": "a\0b",
}


class Switch:
    """A plugin and a deferred plugin that fail until they are switched on."""

    def __init__(self) -> None:
        self.fails = True
        self.seen: list[dict[str, Any]] = []
        self.plugins = [self._plugin("now", False), self._plugin("afterwards", True)]

    def _plugin(self, name: str, deferred: bool) -> Plugin:
        plugin = Plugin(name)

        @plugin.on("payment_intent.succeeded", deferred=deferred)
        async def run(event: Event, ctx: Context) -> None:
            self.seen.append(event.object)
            if self.fails:
                raise RuntimeError("a bug")

        return plugin


@pytest.fixture
def switch() -> Switch:
    return Switch()


@pytest.fixture
def extra_plugins(switch: Switch) -> list[Plugin]:
    return switch.plugins


@both_stores
@pytest.mark.parametrize("content", UNUSUAL.values(), ids=UNUSUAL)
@pytest.mark.gen_test
async def test_event_with_unusual_content_is_stored_and_can_be_replayed(
    api: Api, service: Service, switch: Switch, content: Any, store: str
) -> None:
    body = changed(PAID, id="evt_unusual", extra=content)
    answer = await api.deliver(body)
    assert (answer.code, json_of(answer)["code"]) == (503, "delivery_failed")
    [event] = await rows(service, "events")
    assert event["handlers"]["now"]["error"].startswith("RuntimeError at")
    assert event["handlers"]["afterwards"]["status"] == "deferred"
    assert await api.credits() == 50

    switch.fails = False
    await service.processor.replay("evt_unusual")
    await service.worker.run_due()
    [event] = await rows(service, "events")
    assert {run["status"] for run in event["handlers"].values()} == {"done"}
    assert "payload" not in event
    assert [seen["extra"] for seen in switch.seen] == [content] * len(switch.seen)


WRONG_TYPES = [7, "text", ["a"], True, {"account_uid": 7}, {"account_uid": {"$gt": ""}}]


def changed_object(name: str, field: str, value: Any) -> bytes:
    event = json.loads(recorded(name))
    event["id"] = f"evt_{field}_{value}"[:255]
    event["data"]["object"][field] = value
    return json.dumps(event).encode()


@pytest.mark.parametrize(
    "name",
    [
        "payment_intent.succeeded",
        "invoice.paid",
        "refund.created",
        "charge.dispute.created",
        "customer.subscription.updated",
        "customer.deleted",
        "setup_intent.succeeded",
    ],
)
@pytest.mark.gen_test
async def test_field_of_a_wrong_type_is_never_answered_500(
    api: Api, service: Service, quick_retries: None, name: str
) -> None:
    fields = ("metadata", "parent", "customer", "id", "object", "payment_intent", "items", "lines")
    for field, value in itertools.product(fields, WRONG_TYPES):
        answer = await api.deliver(changed_object(name, field, value))
        assert answer.code in (200, 503), (field, value)
        assert json_of(answer).get("code", "delivery_failed") == "delivery_failed", (field, value)
    errors = {
        run.get("error", "")
        for row in await rows(service, "events")
        for run in row["handlers"].values()
    }
    assert not [error for error in errors if "objects.py" in error], (
        "these fields were not treated as missing"
    )


@pytest.mark.mongod
@pytest.mark.gen_test
async def test_id_that_is_a_query_releases_no_customer(
    buyer: Buyer, webhooks: Webhooks, service: Service
) -> None:
    await buyer.subscribe()
    before = await rows(service, "customers")
    assert before[0]["customer_id"]
    body = changed_object("customer.deleted", "id", {"$gt": ""})
    assert (await buyer.api.deliver(body)).code == 200
    assert await rows(service, "customers") == before


@pytest.mark.parametrize("created", [2**63, -1, 10**12, 2**200])
@pytest.mark.gen_test
async def test_event_whose_time_is_out_of_range_is_refused(
    api: Api, service: Service, created: int
) -> None:
    body = json.dumps({**json.loads(PAID), "created": created}).encode()
    answer = await api.deliver(body)
    assert (answer.code, json_of(answer)["code"]) == (400, "invalid_request")
    assert "created" in json_of(answer)["message"]
    assert await rows(service, "events") == []


@both_stores
@pytest.mark.parametrize(
    "document",
    [{"_id": 1, "n": 2**64}, {"_id": 1, "a\0b": 1}, {"_id": 1, "value": object()}],
    ids=["integer above 64 bits", "key with NUL", "value that BSON cannot hold"],
)
@pytest.mark.gen_test
async def test_document_that_cannot_be_encoded_fails_the_commit(
    service: Service, document: dict[str, Any], store: str
) -> None:
    plugin = Plugin("wrong")

    @plugin.on("payment_intent.succeeded")
    async def write(event: Event, ctx: Context) -> None:
        ctx.collection.insert_one(document)

    event = Event.model_validate_json(PAID)
    assert await service.processor.run_plugin(plugin, event) == "failed"
    [kept] = await rows(service, "events")
    assert kept["handlers"]["wrong"]["error"].startswith("CommitRefused")
    assert kept["account_uid"] == ACCOUNT
    assert await rows(service, "plugin_wrong") == []
