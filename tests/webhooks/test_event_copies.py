"""Each run of a plugin gets its own copy of the event; the stored event is the verified one."""

import json
from datetime import timedelta
from typing import Any

import pytest

from datalayer_stripe import Context, Event, Plugin, Reject
from datalayer_stripe.events import parse
from datalayer_stripe.service import Service
from tests.support.app import ACCOUNT, Api, json_of, recorded
from tests.support.shop import Buyer, rows

pytestmark = pytest.mark.mongod

PAID = recorded("payment_intent.succeeded")
OBJECT = json.loads(PAID)["data"]["object"]


class Vandal:
    """Three plugins that change the event: before the credits, after them, and deferred."""

    def __init__(self) -> None:
        self.raises: Exception | None = None
        self.seen: dict[str, list[dict[str, Any]]] = {}
        self.plugins = [
            self._plugin("first", moves_money=True),
            self._plugin("later", moves_money=False),
            self._plugin("deferred", moves_money=False, deferred=True),
        ]

    def _plugin(self, name: str, *, moves_money: bool, deferred: bool = False) -> Plugin:
        plugin = Plugin(name, order=-1, moves_money=moves_money)
        self.seen[name] = []

        @plugin.on("payment_intent.succeeded", deferred=deferred)
        async def change(event: Event, ctx: Context) -> None:
            self.seen[name].append(json.loads(event.model_dump_json())["data"]["object"])
            event.object["metadata"].clear()
            event.object["amount_received"] = 1
            event.__dict__["id"] = "evt_other"
            if self.raises:
                raise self.raises

        return plugin


@pytest.fixture
def vandal() -> Vandal:
    return Vandal()


@pytest.fixture
def extra_plugins(vandal: Vandal) -> list[Plugin]:
    return vandal.plugins


@pytest.mark.gen_test
async def test_plugin_that_changes_its_event_changes_no_other_plugins_event(
    api: Api, service: Service, vandal: Vandal
) -> None:
    answer = await api.deliver(PAID)
    assert json_of(answer)["outcome"] == "processed"
    await service.worker.run_due()
    assert await api.credits() == 50
    assert vandal.seen == {name: [OBJECT] for name in ("first", "later", "deferred")}
    [event] = await rows(service, "events")
    assert event["_id"] == json.loads(PAID)["id"]


@pytest.mark.parametrize("error", [RuntimeError("a bug"), Reject("never")])
@pytest.mark.gen_test
async def test_replay_after_a_changed_event_still_adds_the_credits(
    api: Api, service: Service, vandal: Vandal, error: Exception
) -> None:
    event_id = json.loads(PAID)["id"]
    # The credits are missing, and only the stored body is left to replay from.
    vandal.raises = error
    await api.deliver(PAID)
    kept = await service.store.events.get(event_id)
    assert kept is not None
    assert kept.event is not None
    assert kept.event.object == OBJECT
    database = service.store._database
    await database.ledger.delete_many({})
    await database.accounts.delete_many({})
    await database.events.update_one({"_id": event_id}, {"$unset": {"handlers.top-up-credits": 1}})
    vandal.raises = None
    assert (await service.processor.replay(event_id)).outcome == "processed"
    assert (await service.store.accounts.get(ACCOUNT)).credits == 50


@pytest.mark.gen_test
async def test_retried_deferred_run_sees_the_verified_event(
    api: Api, service: Service, vandal: Vandal, clock: Any
) -> None:
    await api.deliver(PAID)
    vandal.raises = RuntimeError("a bug")
    await service.worker.run_due()
    clock.advance(**{"minutes": 1})
    vandal.raises = None
    await service.worker.run_due()
    assert vandal.seen["deferred"] == [OBJECT, OBJECT]
    assert clock.offset == timedelta(minutes=1)


@pytest.mark.gen_test
async def test_plugin_that_runs_again_after_a_conflict_sees_the_verified_event(
    service: Service,
) -> None:
    plugin = Plugin("counter")
    seen: list[dict[str, Any]] = []

    @plugin.on("payment_intent.succeeded")
    async def count(event: Event, ctx: Context) -> None:
        seen.append(dict(event.object))
        event.object.clear()
        if len(seen) == 1:  # another process takes the id between the read and the commit
            await service.store._database["plugin_counter"].insert_one({"_id": "n"})
            ctx.collection.insert_one({"_id": "n"})

    assert await service.processor.run_plugin(plugin, parse(PAID)) == "processed"
    assert seen == [OBJECT, OBJECT]


@pytest.mark.gen_test
async def test_plugin_cannot_change_the_cached_catalog(buyer: Buyer, service: Service) -> None:
    for cached in (await service.catalog.packages(), await service.catalog.plans()):
        assert isinstance(cached, tuple), "a list would be shared by all callers within a minute"
        assert cached
