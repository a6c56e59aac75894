"""Deliveries on a real MongoDB: one effect, however often an event is delivered."""

import asyncio
import json
from collections import Counter

import pytest

from datalayer_stripe import Context, Event, Plugin, Reject, Retry
from datalayer_stripe.service import Service
from datalayer_stripe.store.driver import start_session, start_transaction
from tests.support.app import ACCOUNT, Api, changed, json_of, recorded

pytestmark = pytest.mark.mongod

PAID = recorded("payment_intent.succeeded")


class Recorder:
    """Plugins that fail on request and count their runs."""

    def __init__(self) -> None:
        self.runs: Counter[str] = Counter()
        self.fails: list[Exception] = []
        self.plugins = [self._plugin("flaky", order=1), self._plugin("steady", order=2)]

    def _plugin(self, name: str, order: int) -> Plugin:
        plugin = Plugin(name, order=order)

        @plugin.on("payment_intent.succeeded")
        async def run(event: Event, ctx: Context) -> None:
            self.runs[name] += 1
            ctx.collection.update_one({"_id": event.id}, {"$inc": {"n": 1}}, upsert=True)
            if name == "flaky" and self.fails:
                raise self.fails.pop()

        return plugin


@pytest.fixture
def recorder() -> Recorder:
    return Recorder()


@pytest.fixture
def extra_plugins(recorder: Recorder) -> list[Plugin]:
    return recorder.plugins


async def effects(service: Service, collection: str) -> list[dict]:
    database = service.store._database
    return await database[collection].find().sort("_id").to_list(None)


@pytest.mark.gen_test
async def test_fifty_concurrent_deliveries_of_one_event_have_one_effect(
    api: Api, service: Service
) -> None:
    answers = await asyncio.gather(*(api.deliver(PAID) for _ in range(50)))
    assert {answer.code for answer in answers} == {200}
    outcomes = Counter(json_of(answer)["outcome"] for answer in answers)
    assert outcomes["processed"] >= 1
    assert set(outcomes) <= {"processed", "duplicate"}
    assert await api.credits() == 50
    assert [row["credits"] for row in await effects(service, "ledger")] == [50]
    assert [row["n"] for row in await effects(service, "plugin_steady")] == [1]


@pytest.mark.gen_test
async def test_two_events_for_one_payment_have_one_effect(api: Api, service: Service) -> None:
    events = [changed(PAID) for _ in range(20)]
    answers = await asyncio.gather(*(api.deliver(event) for event in events))
    assert [json_of(answer)["outcome"] for answer in answers] == ["processed"] * 20
    assert await api.credits() == 50
    assert len(await effects(service, "ledger")) == 1
    assert len(await effects(service, "events")) == 20


@pytest.mark.gen_test
async def test_concurrent_payments_of_one_account_all_add_credits(api: Api) -> None:
    events = [changed(PAID, **{"id": f"evt_{n}"}) for n in range(20)]
    bodies = []
    for n, event in enumerate(events):
        data = json.loads(event)
        data["data"]["object"]["id"] = f"pi_{n}"
        bodies.append(json.dumps(data).encode())
    answers = await asyncio.gather(*(api.deliver(body) for body in bodies))
    assert {answer.code for answer in answers} == {200}
    assert await api.credits() == 20 * 50


@pytest.mark.parametrize("failure", [Retry("not now"), RuntimeError("a bug"), KeyError("x")])
@pytest.mark.gen_test
async def test_only_the_failed_plugin_runs_again(
    api: Api, service: Service, recorder: Recorder, failure: Exception
) -> None:
    recorder.fails.append(failure)
    answer = await api.deliver(PAID)
    assert answer.code == 503
    assert answer.headers["Retry-After"]
    assert json_of(answer)["code"] == "delivery_failed"
    [stored] = await effects(service, "events")
    assert stored["handlers"]["flaky"]["status"] == "failed"
    assert stored["failed"] == ["flaky"]
    assert "a bug" not in str(stored["handlers"])
    assert await api.credits() == 50, "the failure of one plugin does not delay the credits"
    assert await effects(service, "plugin_flaky") == []

    answer = await api.deliver(PAID)
    assert (answer.code, json_of(answer)["outcome"]) == (200, "processed")
    assert recorder.runs == {"flaky": 2, "steady": 1}
    [stored] = await effects(service, "events")
    assert stored["handlers"]["flaky"]["attempts"] == 2
    assert stored["failed"] == []
    assert [row["n"] for row in await effects(service, "plugin_flaky")] == [1]
    assert await api.credits() == 50


@pytest.mark.gen_test
async def test_rejection_is_recorded_answered_200_and_can_be_replayed(
    api: Api, service: Service, recorder: Recorder
) -> None:
    recorder.fails.append(Reject("the account is unknown"))
    answer = await api.deliver(PAID)
    assert (answer.code, json_of(answer)["outcome"]) == (200, "rejected")
    [stored] = await effects(service, "events")
    assert stored["handlers"]["flaky"]["error"] == "the account is unknown"
    assert stored["rejected"] == ["flaky"]

    answer = await api.deliver(PAID)
    assert json_of(answer)["outcome"] == "processed"
    [stored] = await effects(service, "events")
    assert stored["rejected"] == []
    assert stored["handlers"]["top-up-credits"]["attempts"] == 1


@pytest.mark.gen_test
async def test_event_type_without_a_plugin_is_ignored_and_not_stored(
    api: Api, service: Service
) -> None:
    answer = await api.deliver(recorded("customer.created"))
    assert json_of(answer) == {
        "received": True,
        "event": "evt_1xNntfCz7hWRKLEpG4ZqT9Sg",
        "outcome": "ignored",
    }
    assert await effects(service, "events") == []


@pytest.mark.gen_test
async def test_event_of_a_connected_account_is_ignored(api: Api) -> None:
    event = json.loads(PAID)
    event["account"] = "acct_1"
    answer = await api.deliver(json.dumps(event).encode())
    assert json_of(answer)["outcome"] == "ignored"
    assert await api.credits() == 0


@pytest.mark.gen_test
async def test_plugin_runs_again_when_what_it_read_has_changed(service: Service) -> None:
    plugin = Plugin("counter")
    seen: list[int] = []

    @plugin.on("payment_intent.succeeded")
    async def count(_: Event, ctx: Context) -> None:
        found = await ctx.collection.find_one({"_id": "n"}) or {"value": 0}
        if not seen:  # another process writes first, once
            other = service.store._database["plugin_counter"]
            await other.insert_one({"_id": "n", "value": 7})
        seen.append(found["value"])
        if found["value"]:
            ctx.collection.update_one(
                {"_id": "n"}, {"$inc": {"value": 1}}, expect={"value": found["value"]}
            )
        else:
            ctx.collection.insert_one({"_id": "n", "value": 1})

    event = Event.model_validate_json(PAID)
    assert await service.processor.run_plugin(plugin, event) == "processed"
    assert seen == [0, 7]
    assert (await effects(service, "plugin_counter"))[0]["value"] == 8


@pytest.mark.gen_test
async def test_refused_write_rolls_back_the_whole_unit_of_work(service: Service) -> None:
    plugin = Plugin("wrong")

    @plugin.on("payment_intent.succeeded")
    async def write(event: Event, ctx: Context) -> None:
        top_up = await ctx.topups.from_payment_intent(event.object)
        assert top_up is not None
        ctx.ledger.credit(top_up)
        ctx.collection.insert_one({"_id": "x", "word": "text"})
        ctx.collection.update_one({"_id": "x"}, {"$inc": {"word": 1}})

    event = Event.model_validate_json(PAID)
    assert await service.processor.run_plugin(plugin, event) == "failed"
    assert await effects(service, "ledger") == []
    assert await effects(service, "plugin_wrong") == []
    assert (await service.store.accounts.get(ACCOUNT)).credits == 0


@pytest.mark.gen_test
async def test_delivery_is_answered_503_while_a_killed_process_left_its_transaction_open(
    api: Api, service: Service
) -> None:
    database = service.store._database
    async with await start_session(service.store._client) as abandoned:
        await start_transaction(abandoned)
        await database.accounts.update_one(
            {"_id": ACCOUNT}, {"$inc": {"credits": 0}}, upsert=True, session=abandoned
        )
        answer = await api.deliver(PAID)
        assert answer.code == 503
        assert answer.request_time < 15, "well below Stripe's own timeout"
        await abandoned.abort_transaction()
    answer = await api.deliver(PAID)
    assert json_of(answer)["outcome"] == "processed"
    assert await api.credits() == 50
