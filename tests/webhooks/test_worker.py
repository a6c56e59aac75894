"""Deferred jobs: committed with the event, run once, retried with a backoff, finally rejected."""

import asyncio
import json
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import suppress
from datetime import timedelta
from typing import Any

import pytest
from tornado.ioloop import IOLoop

from datalayer_stripe import Context, Event, Plugin, Reject, Retry, tasks
from datalayer_stripe.composition import open_service
from datalayer_stripe.errors import StoreUnavailable
from datalayer_stripe.plugin_api.registry import Registry
from datalayer_stripe.service import Service
from datalayer_stripe.settings import Settings
from datalayer_stripe.store.commit import Work
from datalayer_stripe.store.group_commit import GroupCommitter
from datalayer_stripe.store.job_marks import Deferral
from datalayer_stripe.store.marks import Mark
from datalayer_stripe.store.unit_of_work import CommitReceipt, UnitOfWork
from datalayer_stripe.webhooks.job_slots import (
    MAX_CONCURRENT_JOBS,
    MAX_CONCURRENT_JOBS_PER_PLUGIN,
    RESERVED_FOR_MONEY,
)
from datalayer_stripe.webhooks.worker import MAX_ATTEMPTS, MAX_BACKOFF, Worker, backoff_after
from tests.support.app import ACCOUNT, Api, Clock, changed, json_of, recorded
from tests.support.shop import rows

PAID = recorded("payment_intent.succeeded")
EVENT = "evt_1xNnthCz7hWRKLEp3Wi6nFpx"

both_stores = pytest.mark.parametrize(
    "store", ["memory", pytest.param("mongod", marks=pytest.mark.mongod)]
)


class Mailer:
    """A deferred plugin for payments, whose behaviour the test sets."""

    def __init__(self, name: str = "mailer", *, moves_money: bool = False) -> None:
        self.runs: Counter[str] = Counter()
        self.fails: Exception | None = None
        self.waits: asyncio.Event | None = None
        self.inside = 0
        self.plugin = Plugin(name, moves_money=moves_money)

        @self.plugin.on("payment_intent.succeeded", deferred=True)
        async def mail(event: Event, ctx: Context) -> None:
            self.runs[event.id] += 1
            ctx.collection.update_one({"_id": event.id}, {"$inc": {"n": 1}}, upsert=True)
            self.inside += 1
            try:
                if self.waits is not None:
                    await self.waits.wait()
            finally:
                self.inside -= 1
            if self.fails is not None:
                raise self.fails

    async def held(self, number: int) -> None:
        """Wait until this many runs are blocked."""

        async def reached() -> bool:
            return self.inside == number

        await until(reached)


@pytest.fixture
def mailer() -> Mailer:
    return Mailer()


@pytest.fixture
def caller() -> Plugin:
    """Another deferred plugin for payments, which writes nothing."""
    plugin = Plugin("caller")

    @plugin.on("payment_intent.succeeded", deferred=True)
    async def call(event: Event, ctx: Context) -> None:
        return

    return plugin


@pytest.fixture
def extra_plugins(request: pytest.FixtureRequest, mailer: Mailer) -> list[Plugin]:
    if "caller" in request.fixturenames:
        return [request.getfixturevalue("caller")]
    return [mailer.plugin]


@pytest.fixture
def second(
    io_loop: IOLoop, settings: Settings, service: Service, clock: Clock
) -> Iterator[Service]:
    """The service of another process, on the same database."""
    other = io_loop.run_sync(lambda: open_service(settings, registry=service.registry, clock=clock))
    yield other
    io_loop.run_sync(other.close)


async def until(condition: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(60):
        while not await condition():  # noqa: ASYNC110 (the worker has no event for it)
            await asyncio.sleep(0.01)


async def outcome(api: Api, body: bytes = PAID) -> str:
    answer = await api.deliver(body)
    assert answer.code == 200
    return str(json_of(answer)["outcome"])


async def handler_run(service: Service, name: str = "mailer") -> dict[str, Any]:
    """Return the plugin's entry in the document of the one event."""
    [event] = await rows(service, "events")
    return dict(event["handlers"][name])


async def outbox(service: Service) -> list[int]:
    return [row["n"] for row in await rows(service, "plugin_mailer")]


def counted(service: Service, outcome: str) -> float:
    labels = {"plugin": "mailer", "outcome": outcome}
    return service.metrics.registry.get_sample_value("datalayer_stripe_jobs_total", labels) or 0


def worker_of(service: Service) -> Worker:
    """Return another worker of the same service."""
    return Worker(
        service.store,
        service.registry,
        service.worker._runner,
        service.metrics,
        service.clock,
        service.observers,
    )


# Life of a job


@both_stores
@pytest.mark.gen_test
async def test_job_is_committed_with_its_event_and_runs_once(
    api: Api, service: Service, mailer: Mailer, store: str
) -> None:
    assert await outcome(api) == "processed", "the credits are added before the job runs"
    assert await api.credits() == 50
    assert mailer.runs.total() == 0, "the delivery is answered first"
    assert (await handler_run(service))["status"] == "deferred"
    [job] = await rows(service, "jobs")
    assert job["_id"] == f"{EVENT}:mailer"
    assert json.loads(job["event"])["data"]["object"]["object"] == "payment_intent"

    assert await outcome(api) == "duplicate"
    assert len(await rows(service, "jobs")) == 1

    await service.worker.run_due()
    done = await handler_run(service)
    assert (done["status"], done["attempts"]) == ("done", 1)
    assert await outbox(service) == [1]
    assert await rows(service, "jobs") == []
    [event] = await rows(service, "events")
    assert "payload" not in event, "no personal data of the payer is kept"
    assert await outcome(api) == "duplicate"
    await service.worker.run_due()
    assert mailer.runs == {EVENT: 1}
    assert counted(service, "processed") == 1


@both_stores
@pytest.mark.gen_test
async def test_delivery_wakes_the_worker(
    api: Api, service: Service, mailer: Mailer, monkeypatch: pytest.MonkeyPatch, store: str
) -> None:
    monkeypatch.setattr("datalayer_stripe.webhooks.worker.POLL_SECONDS", 3600)
    await service.start()
    await outcome(api)

    async def done() -> bool:
        return await outbox(service) == [1]

    await until(done)
    gauge = "datalayer_stripe_jobs_waiting"

    async def counted_none() -> bool:
        return service.metrics.registry.get_sample_value(gauge) == 0

    await until(counted_none)


@pytest.mark.mongod
@pytest.mark.gen_test
async def test_concurrent_deliveries_create_one_job(
    api: Api, service: Service, mailer: Mailer
) -> None:
    answers = await asyncio.gather(*(api.deliver(PAID) for _ in range(30)))
    assert {answer.code for answer in answers} == {200}
    assert len(await rows(service, "jobs")) == 1
    await service.worker.run_due()
    assert mailer.runs == {EVENT: 1}
    assert await api.credits() == 50


@pytest.mark.mongod
@pytest.mark.gen_test
async def test_ten_workers_of_two_processes_run_each_job_once(
    api: Api, service: Service, second: Service, mailer: Mailer
) -> None:
    for number in range(40):
        await outcome(api, changed(PAID, id=f"evt_{number}"))
    workers = [worker_of(one) for one in (service, second) for _ in range(5)]
    await asyncio.gather(*(worker.run_due() for worker in workers))
    assert set(mailer.runs.values()) == {1}
    assert mailer.runs.total() == 40
    assert await outbox(service) == [1] * 40
    assert await rows(service, "jobs") == []


@pytest.mark.mongod
@pytest.mark.gen_test
async def test_two_workers_run_a_job_after_a_short_lease_and_one_commits(
    api: Api, service: Service, second: Service, mailer: Mailer, clock: Clock
) -> None:
    await outcome(api)
    mailer.waits = asyncio.Event()
    first_run = asyncio.create_task(service.worker.run_due())
    await mailer.held(1)
    await second.worker.run_due()
    assert mailer.runs == {EVENT: 1}, "the first worker holds the lease"
    clock.advance(seconds=81)
    second_run = asyncio.create_task(second.worker.run_due())
    await mailer.held(2)
    mailer.waits.set()
    await asyncio.gather(first_run, second_run)
    assert await outbox(service) == [1]
    assert (await handler_run(service))["status"] == "done"
    assert await rows(service, "jobs") == []


@pytest.mark.mongod
@pytest.mark.gen_test
async def test_worker_cannot_finish_job_after_its_lease_expired(
    api: Api, service: Service, second: Service, mailer: Mailer, clock: Clock
) -> None:
    await outcome(api)
    mailer.waits = asyncio.Event()
    slow = asyncio.create_task(service.worker.run_due())
    await mailer.held(1)
    clock.advance(seconds=81)
    store = second.store
    taken = await store.jobs.take("mailer", clock(), timedelta(seconds=80))
    assert taken is not None
    assert taken.attempts == 2
    mailer.fails = Retry("too late")
    mailer.waits.set()
    await slow
    [job] = await rows(service, "jobs")
    assert job["holder"] == taken.holder
    assert job["until"] > clock()
    assert "error" not in await handler_run(service)


@pytest.mark.mongod
@pytest.mark.gen_test
async def test_job_that_runs_before_its_deferral_is_acknowledged_is_done(
    api: Api, service: Service, caller: Plugin, monkeypatch: pytest.MonkeyPatch
) -> None:
    committer = service.store._committer
    assert isinstance(committer, GroupCommitter)
    attempt, works_meanwhile = committer.transactions.attempt_in_bulk, []

    async def slow(works: Sequence[Work]) -> list[CommitReceipt]:
        receipts = await attempt(works)
        if isinstance(works[0].mark, Deferral):
            # The job is committed, and the delivery has no answer from MongoDB yet.
            works_meanwhile.append(asyncio.create_task(service.worker.run_due()))

            async def wants_to_commit() -> bool:
                return bool(committer._service_queue._requests)

            await until(wants_to_commit)
        return receipts

    monkeypatch.setattr(committer.transactions, "attempt_in_bulk", slow)
    await outcome(api)
    assert len(works_meanwhile) == 1
    await asyncio.gather(*works_meanwhile)
    assert (await handler_run(service, "caller"))["status"] == "done"
    assert await rows(service, "jobs") == []


@both_stores
@pytest.mark.gen_test
async def test_deferred_event_is_a_duplicate_when_it_is_delivered_again(
    api: Api, service: Service, mailer: Mailer, store: str
) -> None:
    await service.worker.stop(seconds=1)
    await outcome(api)
    assert (await handler_run(service))["status"] == "deferred"
    assert await outcome(api) == "duplicate"
    assert len(await rows(service, "jobs")) == 1


# Failures


@both_stores
@pytest.mark.gen_test
async def test_failed_job_is_retried_with_an_exponential_backoff(
    api: Api, service: Service, mailer: Mailer, clock: Clock, store: str
) -> None:
    mailer.fails = Retry("the mail server does not answer")
    await outcome(api)
    await service.worker.run_due()
    failed = await handler_run(service)
    assert (failed["status"], failed["attempts"]) == ("deferred", 1)
    assert failed["error"] == "the mail server does not answer"
    [record] = [one async for one in service.store.event_lists.find(status="failed")]
    assert record.failed == ("mailer",)
    assert await outbox(service) == []

    await service.worker.run_due()
    assert mailer.runs[EVENT] == 1, "not before its backoff is over"
    clock.advance(seconds=3.9)
    await service.worker.run_due()
    assert mailer.runs[EVENT] == 1
    clock.advance(seconds=2.2)
    await service.worker.run_due()
    assert mailer.runs[EVENT] == 2
    clock.advance(seconds=7.9)
    await service.worker.run_due()
    assert mailer.runs[EVENT] == 2, "the second backoff is twice as long"

    mailer.fails = None
    clock.advance(seconds=4.2)
    await service.worker.run_due()
    done = await handler_run(service)
    assert (done["status"], done["attempts"]) == ("done", 3)
    assert [one async for one in service.store.event_lists.find(status="failed")] == []
    assert (counted(service, "failed"), counted(service, "processed")) == (2, 1)
    [event] = await rows(service, "events")
    assert "payload" not in event


def test_backoffs_double_up_to_an_hour_and_sum_to_about_three_days() -> None:
    pauses = [backoff_after(attempt) for attempt in range(1, MAX_ATTEMPTS)]
    assert [pause.total_seconds() for pause in pauses[:3]] == [5, 10, 20]
    assert pauses[-1] == MAX_BACKOFF == backoff_after(10_000)
    assert timedelta(days=2.5) < sum(pauses, timedelta()) < timedelta(days=3.5)


@both_stores
@pytest.mark.gen_test
async def test_job_is_rejected_after_its_last_attempt_and_can_be_replayed(
    api: Api,
    service: Service,
    mailer: Mailer,
    clock: Clock,
    monkeypatch: pytest.MonkeyPatch,
    store: str,
) -> None:
    monkeypatch.setattr("datalayer_stripe.webhooks.worker.MAX_ATTEMPTS", 3)
    mailer.fails = RuntimeError("a bug")
    await outcome(api)
    for _ in range(5):
        await service.worker.run_due()
        clock.advance(hours=2)
    assert mailer.runs[EVENT] == 3
    ended = await handler_run(service)
    assert ended["status"] == "rejected"
    assert ended["error"].startswith("given up after 3 attempts: RuntimeError at test_worker.py:")
    [record] = [one async for one in service.store.event_lists.find(status="rejected")]
    assert (record.rejected, record.failed) == (("mailer",), ())
    assert await rows(service, "jobs") == []

    mailer.fails = None
    assert (await service.processor.replay(EVENT)).outcome == "deferred", "from the stored event"
    await service.worker.run_due()
    assert (await handler_run(service))["status"] == "done"
    assert await outbox(service) == [1]
    [event] = await rows(service, "events")
    assert event["rejected"] == []
    assert "payload" not in event
    assert (await service.processor.replay(EVENT)).outcome == "duplicate"


@both_stores
@pytest.mark.gen_test
async def test_job_that_kills_its_processes_is_rejected_after_the_last_attempt(
    api: Api,
    service: Service,
    mailer: Mailer,
    clock: Clock,
    monkeypatch: pytest.MonkeyPatch,
    store: str,
) -> None:
    monkeypatch.setattr("datalayer_stripe.webhooks.worker.MAX_ATTEMPTS", 3)
    await outcome(api)
    for _ in range(3):
        assert await service.store.jobs.take("mailer", clock(), timedelta(seconds=80))
        clock.advance(seconds=81)
    await service.worker.run_due()
    assert mailer.runs.total() == 0
    ended = await handler_run(service)
    assert ended["status"] == "rejected"
    assert ended["error"] == "given up after 3 attempts; the last one never ended"
    assert await rows(service, "jobs") == []


@both_stores
@pytest.mark.gen_test
async def test_job_that_raises_reject_is_rejected_at_its_first_attempt(
    api: Api, service: Service, mailer: Mailer, store: str
) -> None:
    mailer.fails = Reject("nobody of that name")
    await outcome(api)
    await service.worker.run_due()
    ended = await handler_run(service)
    assert (ended["status"], ended["error"]) == ("rejected", "nobody of that name")
    assert await rows(service, "jobs") == []
    assert counted(service, "rejected") == 1


@both_stores
@pytest.mark.gen_test
async def test_replay_makes_a_backed_off_job_due_now(
    api: Api, service: Service, mailer: Mailer, clock: Clock, store: str
) -> None:
    mailer.fails = Retry("not yet")
    await outcome(api)
    for _ in range(6):
        await service.worker.run_due()
        clock.advance(hours=2)
    await service.worker.run_due()
    mailer.fails = None
    assert (await service.processor.replay(EVENT)).outcome == "deferred"
    [job] = await rows(service, "jobs")
    assert job["attempts"] == 0, "the attempts are counted from zero"
    await service.worker.run_due()
    assert await outbox(service) == [1]


@pytest.mark.mongod
@pytest.mark.gen_test
async def test_job_runs_again_after_its_lease_when_the_database_did_not_answer(
    api: Api, service: Service, mailer: Mailer, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def away(*_: object) -> None:
        raise StoreUnavailable

    await outcome(api)
    with monkeypatch.context() as outage:
        outage.setattr(service.store, "commit", away)
        await service.worker.run_due()
    assert len(await rows(service, "jobs")) == 1
    await service.worker.run_due()
    assert mailer.runs[EVENT] == 1
    clock.advance(seconds=81)
    await service.worker.run_due()
    assert await outbox(service) == [1]


@pytest.mark.mongod
@pytest.mark.gen_test
async def test_hanging_plugin_leaves_slots_for_another(
    settings: Settings, mailer: Mailer, clock: Clock, bearer: Callable[..., str]
) -> None:
    prompt = Mailer("prompt")
    registry = Registry([*Registry.load().plugins, mailer.plugin, prompt.plugin])
    service = await open_service(settings, registry=registry, clock=clock)
    mailer.waits = asyncio.Event()
    try:
        for number in range(12):
            event = Event.model_validate_json(changed(PAID, id=f"evt_{number}"))
            await service.processor.process(event)
        running = asyncio.create_task(service.worker.run_due())

        async def prompt_is_done() -> bool:
            return prompt.runs.total() == 12

        await until(prompt_is_done)
        assert mailer.inside == MAX_CONCURRENT_JOBS_PER_PLUGIN
        mailer.waits.set()
        await running
        assert mailer.runs.total() == 12
    finally:
        mailer.waits.set()
        await service.close()


@pytest.mark.mongod
@pytest.mark.gen_test
async def test_several_hanging_plugins_leave_slots_for_money_and_for_others(
    settings: Settings, clock: Clock, bearer: Callable[..., str]
) -> None:
    hanging = [Mailer(f"hanging-{number}") for number in range(3)]
    money, prompt = Mailer("money", moves_money=True), Mailer("prompt")
    mailers = [*hanging, money, prompt]
    plugins = [*Registry.load().plugins, *(mailer.plugin for mailer in mailers)]
    service = await open_service(settings, registry=Registry(plugins), clock=clock)
    opened = asyncio.Event()
    for mailer in hanging:
        mailer.waits = opened
    try:
        service.worker.start()
        for number in range(1, 31):
            event = Event.model_validate_json(changed(PAID, id=f"evt_{number}"))
            await service.processor.process(event)

            async def both_are_done(number: int = number) -> bool:
                return money.runs.total() == prompt.runs.total() == number

            await until(both_are_done)
        assert all(mailer.inside for mailer in hanging)
    finally:
        opened.set()
        await service.close()


@pytest.mark.mongod
@pytest.mark.gen_test
async def test_slots_reserved_for_money_stay_free_however_many_plugins_hang(
    settings: Settings, clock: Clock, bearer: Callable[..., str]
) -> None:
    hanging = [Mailer(f"hanging-{number}") for number in range(MAX_CONCURRENT_JOBS)]
    money = Mailer("money", moves_money=True)
    plugins = [*Registry.load().plugins, *(mailer.plugin for mailer in (*hanging, money))]
    service = await open_service(settings, registry=Registry(plugins), clock=clock)
    opened = asyncio.Event()
    for mailer in hanging:
        mailer.waits = opened
    try:
        service.worker.start()
        for number in range(1, 3):
            event = Event.model_validate_json(changed(PAID, id=f"evt_{number}"))
            await service.processor.process(event)

            async def money_is_done_and_the_rest_is_full(number: int = number) -> bool:
                inside = sum(mailer.inside for mailer in hanging)
                return (
                    money.runs.total() == number
                    and inside == MAX_CONCURRENT_JOBS - RESERVED_FOR_MONEY
                )

            await until(money_is_done_and_the_rest_is_full)
    finally:
        opened.set()
        await service.close()


# Starting and stopping


@pytest.mark.mongod
@pytest.mark.gen_test
async def test_shutdown_waits_for_the_running_job_and_takes_no_other(
    api: Api, service: Service, mailer: Mailer
) -> None:
    await service.start()
    mailer.waits = asyncio.Event()
    await outcome(api)
    await mailer.held(1)
    stopping = asyncio.create_task(service.worker.stop(seconds=10))

    async def takes_no_more() -> bool:
        return service.worker._loop is None

    await until(takes_no_more)
    assert not stopping.done()
    await outcome(api, changed(PAID, id="evt_later"))
    mailer.waits.set()
    await stopping
    assert mailer.runs == {EVENT: 1}
    assert [job["_id"] for job in await rows(service, "jobs")] == ["evt_later:mailer"]


@pytest.mark.gen_test
async def test_job_that_is_being_leased_at_a_stop_runs(
    api: Api, service: Service, mailer: Mailer, monkeypatch: pytest.MonkeyPatch
) -> None:
    await outcome(api)
    take, is_leased, go_on = service.store.jobs.take, asyncio.Event(), asyncio.Event()

    async def answer_late(*arguments: Any) -> Any:
        job = await take(*arguments)
        is_leased.set()
        await go_on.wait()
        return job

    monkeypatch.setattr(service.store.jobs, "take", answer_late)
    service.worker.start()
    await is_leased.wait()
    stopping = asyncio.create_task(service.worker.stop(seconds=10))
    await asyncio.sleep(0)
    go_on.set()
    await stopping
    assert mailer.runs == {EVENT: 1}
    assert await rows(service, "jobs") == []


@pytest.mark.gen_test
async def test_worker_whose_cancellation_is_lost_takes_no_other_job(
    api: Api, service: Service, mailer: Mailer, monkeypatch: pytest.MonkeyPatch
) -> None:
    await outcome(api)
    entered = asyncio.Event()

    async def lose_cancellation() -> list[str]:
        entered.set()
        with suppress(asyncio.CancelledError):
            await asyncio.Event().wait()
        return ["mailer"]

    monkeypatch.setattr(service.store.jobs, "plugins", lose_cancellation)
    service.worker.start()
    await entered.wait()
    await service.worker.stop(seconds=1)
    assert mailer.runs == {}
    assert len(await rows(service, "jobs")) == 1


@pytest.mark.mongod
@pytest.mark.gen_test
async def test_worker_ends_at_whatever_moment_it_is_stopped(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tasks, "_CANCEL_AGAIN_SECONDS", 0.05)
    for steps in range(200):
        service.worker.start()
        for _ in range(steps % 40):
            service.worker.wake()
            await asyncio.sleep(0)
        async with asyncio.timeout(60):
            await service.worker.stop(seconds=1)


@pytest.mark.mongod
@pytest.mark.gen_test
async def test_job_cancelled_by_a_shutdown_runs_in_another_process(
    api: Api, service: Service, second: Service, mailer: Mailer, clock: Clock
) -> None:
    await service.start()
    mailer.waits = asyncio.Event()
    await outcome(api)
    await mailer.held(1)
    await service.worker.stop(seconds=0.05)
    await mailer.held(0)
    mailer.waits = None
    clock.advance(seconds=81)
    await second.worker.run_due()
    assert await outbox(service) == [1]
    assert (await handler_run(service))["status"] == "done"


# Several processes and plugins


@pytest.mark.mongod
@pytest.mark.gen_test
async def test_worker_without_the_plugin_leaves_its_jobs_to_another_process(
    api: Api, service: Service, settings: Settings, mailer: Mailer, clock: Clock
) -> None:
    await outcome(api)
    without = await open_service(settings, registry=Registry.load(), clock=clock)
    await without.worker.run_due()
    await without.close()
    assert (mailer.runs.total(), len(await rows(service, "jobs"))) == (0, 1)
    await service.worker.run_due()
    assert await outbox(service) == [1]


@pytest.mark.mongod
@pytest.mark.gen_test
async def test_job_is_rejected_when_the_plugin_no_longer_handles_its_event_type(
    api: Api, service: Service, settings: Settings, clock: Clock
) -> None:
    await outcome(api)
    registry = Registry([Plugin("mailer")])
    newer = await open_service(settings, registry=registry, clock=clock)
    await newer.worker.run_due()
    await newer.close()
    ended = await handler_run(service)
    assert ended["status"] == "rejected"
    assert "does not handle payment_intent.succeeded any more" in ended["error"]


@pytest.mark.parametrize("fails", [None, Retry("not now"), Reject("never")])
@pytest.mark.mongod
@pytest.mark.gen_test
async def test_job_is_deleted_when_a_delivery_has_done_its_work(
    api: Api, service: Service, mailer: Mailer, clock: Clock, fails: Exception | None
) -> None:
    mailer.fails = fails
    await outcome(api)
    event = Event.model_validate_json(PAID)
    # By a process of another version, whose plugin is not deferred.
    await service.store.commit(UnitOfWork(), Mark(event, "mailer", clock()))
    await service.worker.run_due()
    assert await rows(service, "jobs") == []
    assert await outbox(service) == []
    assert (await handler_run(service))["status"] == "done"


@pytest.mark.mongod
@pytest.mark.gen_test
async def test_failure_of_another_plugin_creates_no_second_job(
    api: Api, settings: Settings, mailer: Mailer, clock: Clock
) -> None:
    flaky = Plugin("flaky")
    fails = [True]

    @flaky.on("payment_intent.succeeded")
    async def fail(event: Event, ctx: Context) -> None:
        if fails:
            raise Retry("not now")

    registry = Registry([*Registry.load().plugins, flaky, mailer.plugin])
    service = await open_service(settings, registry=registry, clock=clock)
    try:
        event = Event.model_validate_json(PAID)
        assert await service.processor.process(event) == "failed"
        await service.worker.run_due()
        [kept] = await rows(service, "events")
        assert "payload" in kept, "the other plugin has not finished"
        assert await service.processor.process(event) == "failed"
        fails.clear()
        assert await service.processor.process(event) == "processed"
        assert mailer.runs == {EVENT: 1}
        [kept] = await rows(service, "events")
        assert {run["status"] for run in kept["handlers"].values()} == {"done"}
        assert "payload" not in kept
        assert (await service.store.accounts.get(ACCOUNT)).credits == 50
    finally:
        await service.close()


@pytest.mark.mongod
@pytest.mark.gen_test
async def test_failed_deferral_does_not_undo_a_committed_one(
    api: Api, service: Service, clock: Clock
) -> None:
    await outcome(api)
    event = Event.model_validate_json(PAID)
    assert not await service.store.events.record_failure(event, "mailer", "late", clock())
    assert (await handler_run(service))["status"] == "deferred"
