"""A plugin that raises `Defer` gets a job: the delivery is answered 200, and nothing has failed."""

import json
import logging
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import pytest
from pymongo.errors import AutoReconnect

from datalayer_stripe import Context, Defer, Event, Plugin
from datalayer_stripe.service import Service
from datalayer_stripe.store.event_records import EventRecord
from datalayer_stripe.store.job_marks import Deferral
from datalayer_stripe.store.jobs import Jobs
from tests.support.app import Api, Clock, changed, json_of, recorded
from tests.support.shop import rows

PRICE = recorded("price.created")

both_stores = pytest.mark.parametrize(
    "store", ["memory", pytest.param("mongod", marks=pytest.mark.mongod)]
)


class Busy:
    """A plugin that defers each event as often as the test says."""

    def __init__(self) -> None:
        self.deferrals = 1
        self.delay = 0.0
        self.plugin = Plugin("busy")
        self.later = Plugin("later", order=self.plugin.order + 1)
        self.later.on("price.created")(self.write_later)

        @self.plugin.on("price.created")
        async def write(event: Event, ctx: Context) -> None:
            ctx.collection.update_one({"_id": event.id}, {"$inc": {"n": 1}}, upsert=True)
            if self.deferrals:
                self.deferrals -= 1
                raise Defer("the database of another system is busy", delay=self.delay)

    async def write_later(self, event: Event, ctx: Context) -> None:
        ctx.collection.insert_one({"_id": event.id})


@pytest.fixture
def busy() -> Busy:
    return Busy()


@pytest.fixture
def extra_plugins(busy: Busy) -> Sequence[Plugin]:
    return [busy.plugin, busy.later]


async def outcome(api: Api) -> str:
    answer = await api.deliver(PRICE)
    assert answer.code == 200
    return str(json_of(answer)["outcome"])


async def record(service: Service) -> EventRecord:
    [row] = await rows(service, "events")
    found = await service.store.events.get(row["_id"])
    assert found is not None
    return found


async def written(service: Service) -> list[int]:
    return [row["n"] for row in await rows(service, "plugin_busy")]


@both_stores
@pytest.mark.gen_test
async def test_deferred_event_is_answered_200_and_run_once_as_a_job(
    api: Api, service: Service, store: str, caplog: pytest.LogCaptureFixture
) -> None:
    assert json_of(await api.deliver(PRICE))["outcome"] == "processed", "catalog-changed has run"
    assert await written(service) == []
    assert (await record(service)).handlers["busy"].status == "deferred"
    assert await outcome(api) == "duplicate"
    assert len(await rows(service, "jobs")) == 1
    await service.worker.run_due()
    assert await written(service) == [1]
    assert await rows(service, "jobs") == []
    assert (await record(service)).handlers["busy"].status == "done"
    assert await outcome(api) == "duplicate"
    assert [one for one in caplog.records if one.levelno >= logging.ERROR] == []


@both_stores
@pytest.mark.gen_test
async def test_job_that_defers_again_counts_no_failure(
    api: Api,
    service: Service,
    busy: Busy,
    clock: Clock,
    store: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    busy.deferrals, busy.delay = 3, 30
    await api.deliver(PRICE)
    await service.worker.run_due()
    assert busy.deferrals == 2, "the job is due after the delay"
    for left in (1, 0):
        clock.advance(seconds=31)
        await service.worker.run_due()
        assert busy.deferrals == left
        [job] = await rows(service, "jobs")
        assert job["attempts"] == 0
        assert (await record(service)).handlers["busy"].attempts == 0
        assert (await rows(service, "events"))[0].get("failed", []) == []
    clock.advance(seconds=31)
    await service.worker.run_due()
    assert await written(service) == [1]
    assert [one for one in caplog.records if one.levelno >= logging.WARNING] == []


@both_stores
@pytest.mark.gen_test
async def test_job_that_defers_without_a_delay_is_not_run_all_the_time(
    api: Api, service: Service, busy: Busy, clock: Clock, store: str
) -> None:
    busy.deferrals = 1000
    await api.deliver(PRICE)
    await service.worker.run_due()
    assert busy.deferrals == 1000 - 2, "the delivery and one run of the job"


@pytest.mark.mongod
@pytest.mark.gen_test
async def test_job_of_another_worker_is_not_postponed(api: Api, service: Service) -> None:
    await api.deliver(PRICE)
    now = service.clock()
    first = await service.store.jobs.take("busy", now, timedelta(seconds=1))
    later = now + timedelta(seconds=2)
    second = await service.store.jobs.take("busy", later, timedelta(minutes=1))
    assert first is not None
    assert second is not None
    assert not await service.store.jobs.postpone(first, later, later, may_run_early=False)
    assert await service.store.jobs.postpone(second, later, later, may_run_early=False)


@pytest.mark.parametrize("delay", [-1, 1e300, float("inf"), float("nan")])
@pytest.mark.gen_test
async def test_plugin_that_defers_by_an_invalid_delay_has_failed(
    api: Api, service: Service, busy: Busy, delay: float
) -> None:
    busy.delay = delay
    assert (await api.deliver(PRICE)).code == 503
    failed = await record(service)
    assert failed.handlers["busy"].status == "failed"
    assert "ValueError" in (failed.handlers["busy"].error or "")
    assert failed.handlers["later"].status == "done"


@pytest.mark.mongod
@pytest.mark.gen_test
async def test_plugin_whose_job_is_refused_has_failed_and_others_run(
    api: Api, service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Deferral, "_job", lambda _: {"_id": {"$no": object()}})
    assert (await api.deliver(PRICE)).code == 503
    failed = await record(service)
    assert failed.handlers["busy"].status == "failed"
    assert failed.handlers["later"].status == "done"
    monkeypatch.undo()
    assert await outcome(api) == "processed"
    assert await written(service) == [1]


@pytest.mark.mongod
@pytest.mark.gen_test
async def test_jobs_of_one_object_run_together_and_others_by_themselves(
    api: Api, service: Service, busy: Busy, clock: Clock
) -> None:
    busy.deferrals, busy.delay = 5, 60
    for number in range(5):
        event = json.loads(changed(PRICE, id=f"evt_{number}"))
        event["data"]["object"]["id"] = "price_other" if number == 4 else "price_1"
        await api.deliver(json.dumps(event).encode())
    jobs, minute = service.store.jobs, timedelta(minutes=1)
    assert await jobs.take("busy", clock(), minute) is None, "none is due yet"
    clock.advance(seconds=61)
    first = await jobs.take("busy", clock(), minute)
    assert first is not None
    assert [one.id for one in await jobs.take_more(first, clock(), minute, limit=1)] == [
        "evt_1:busy"
    ]
    more = await jobs.take_more(first, clock(), minute, limit=10)
    assert [one.id for one in more] == ["evt_2:busy", "evt_3:busy"]
    clock.advance(seconds=61)
    await service.worker.run_due()
    assert await written(service) == [1] * 5


@pytest.mark.mongod
@pytest.mark.gen_test
async def test_failed_job_of_the_same_object_is_not_taken_before_it_is_due(
    api: Api, service: Service, busy: Busy, clock: Clock
) -> None:
    busy.deferrals = 2
    for number in range(2):
        await api.deliver(changed(PRICE, id=f"evt_{number}"))
    database = service.store._database
    later = clock() + timedelta(hours=1)
    await database.jobs.update_one(
        {"_id": "evt_1:busy"}, {"$set": {"due_at": later, "attempts": 3}}
    )
    await service.worker.run_due()
    assert [row["_id"] for row in await rows(service, "jobs")] == ["evt_1:busy"]
    await database.jobs.update_one({"_id": "evt_1:busy"}, {"$set": {"attempts": 0}})
    busy.deferrals = 0
    await api.deliver(changed(PRICE, id="evt_2"))
    await service.worker.run_due()
    assert len(await rows(service, "jobs")) == 1, "no job of the object is due"


@pytest.mark.mongod
@pytest.mark.gen_test
async def test_job_waits_for_its_delay_although_another_of_its_object_is_due(
    api: Api, service: Service, busy: Busy, clock: Clock
) -> None:
    busy.deferrals, busy.delay = 1, 3600
    await api.deliver(changed(PRICE, id="evt_0"))
    busy.deferrals, busy.delay = 1, 1
    await api.deliver(changed(PRICE, id="evt_1"))
    clock.advance(seconds=2)
    await service.worker.run_due()
    assert [row["_id"] for row in await rows(service, "jobs")] == ["evt_0:busy"]


@pytest.mark.mongod
@pytest.mark.gen_test
async def test_jobs_that_are_leased_run_although_no_further_ones_can_be_leased(
    api: Api, service: Service, busy: Busy, monkeypatch: pytest.MonkeyPatch
) -> None:
    busy.deferrals = 4
    for number in range(4):
        await api.deliver(changed(PRICE, id=f"evt_{number}"))
    take, calls = Jobs._take, []

    async def fail_at_the_third_call(self: Jobs, *args: Any) -> Any:
        calls.append(args)
        if len(calls) == 3:
            raise AutoReconnect("lost")
        return await take(self, *args)

    monkeypatch.setattr(Jobs, "_take", fail_at_the_third_call)
    await service.worker.run_due()
    assert await rows(service, "jobs") == []
