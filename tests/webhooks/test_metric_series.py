"""Counters exist at 0 from the start, and the gauge of open events follows the database."""

import ast
import asyncio
import itertools
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

import datalayer_stripe
from datalayer_stripe import Context, Event, LifespanContext, Plugin, Reject
from datalayer_stripe.errors import StoreUnavailable
from datalayer_stripe.metrics import exposition
from datalayer_stripe.service import Service
from datalayer_stripe.stripe_api.retrievable import RETRIEVABLE
from datalayer_stripe.stripe_api.transport import OPERATIONS
from datalayer_stripe.testing.clock import Clock
from datalayer_stripe.webhooks.open_events import OpenEvents
from datalayer_stripe.webhooks.outcome import Outcome
from tests.support.app import Api, changed, recorded, sign

PAID = recorded("payment_intent.succeeded")

both_stores = pytest.mark.parametrize(
    "store", ["memory", pytest.param("mongod", marks=pytest.mark.mongod)]
)


class Deferring:
    def __init__(self) -> None:
        self.ends: Exception | None = None
        self.plugin = Plugin("mailer")

        @self.plugin.lifespan
        async def prepare(lifespan: LifespanContext) -> AsyncIterator[None]:
            lifespan.metrics.counter("mails", "Mails sent.")
            yield

        @self.plugin.on("payment_intent.succeeded", deferred=True)
        async def mail(event: Event, ctx: Context) -> None:
            if self.ends:
                raise self.ends


@pytest.fixture
def deferring() -> Deferring:
    return Deferring()


@pytest.fixture
def extra_plugins(deferring: Deferring) -> Sequence[Plugin]:
    return [deferring.plugin]


async def series(api: Api) -> dict[str, dict[frozenset[tuple[str, str]], float]]:
    answer = await api.get("/metrics", account=None)
    found: dict[str, dict[frozenset[tuple[str, str]], float]] = {}
    for family in text_string_to_metric_families(answer.body.decode()):
        for sample in family.samples:
            name = sample.name.removeprefix("datalayer_stripe_")
            found.setdefault(name, {})[frozenset(sample.labels.items())] = sample.value
    return found


def labels(**values: str) -> frozenset[tuple[str, str]]:
    return frozenset(values.items())


@pytest.fixture(autouse=True)
def fresh_metrics(monkeypatch: pytest.MonkeyPatch) -> None:
    """Turn off the cache of the exposition."""
    monkeypatch.setattr(exposition, "CACHE_SECONDS", 0.0)


@pytest.mark.gen_test
async def test_every_series_that_an_alert_reads_exists_at_zero(api: Api, service: Service) -> None:
    await service.start()
    found = await series(api)
    deliveries = found["deliveries_total"]
    for event_type, outcome in itertools.product((*service.registry.types, "other"), Outcome):
        assert deliveries[labels(type=event_type, outcome=outcome.value)] == 0
    for outcome in ("processed", "deferred", "duplicate", "rejected", "failed"):
        assert found["jobs_total"][labels(plugin="mailer", outcome=outcome)] == 0
    # Each plugin may defer an event by `Defer`.
    names = {plugin.name for plugin in service.registry.plugins}
    assert {dict(one)["plugin"] for one in found["jobs_total"]} == names
    for operation in OPERATIONS:
        for outcome in ("ok", "AuthenticationError", "APIError", "APIConnectionError"):
            name = labels(operation=operation, outcome=outcome)
            assert found["stripe_calls_total"][name] == 0
    route = "/api/iam/stripe/v1/webhook"
    for status in ("200", "400", "503"):
        assert found["requests_total"][labels(method="POST", route=route, status=status)] == 0
    assert found["plugin_mailer_mails_total"] == {frozenset(): 0}
    for status, name in itertools.product(("failed", "rejected"), ("top-up-credits", "mailer")):
        assert found["events_open"][labels(status=status, plugin=name)] == 0


@pytest.mark.gen_test
async def test_no_series_appears_after_the_start(
    api: Api, service: Service, deferring: Deferring, quick_retries: None, series_at_zero: None
) -> None:
    before = await series(api)
    deferring.ends = Reject("no")
    await api.deliver(PAID)
    await service.worker.run_due()
    await api.deliver(changed(PAID, amount_received=1))
    await api.deliver(recorded("invoice.paid"))  # Stripe does not answer
    await api.deliver(PAID, "t=1,v1=00")
    after = await series(api)
    for name in (
        "refusals_total",
        "run_seconds_count",
        "deliveries_total",
        "jobs_total",
        "stripe_calls_total",
        "events_open",
        "oldest_unfinished_event_age_seconds",
    ):
        assert after[name].keys() == before[name].keys(), name
    new = after["requests_total"].keys() - before["requests_total"].keys()
    assert {dict(one)["route"] for one in new} <= {"/metrics"}


def test_every_operation_at_stripe_is_listed() -> None:
    sources = Path(datalayer_stripe.__file__).with_name("stripe_api").glob("*.py")
    source = "\n".join(path.read_text(encoding="utf-8") for path in sources)
    called = {
        node.args[0].value
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr in ("call", "collect", "pages")
        and node.args
        and isinstance(node.args[0], ast.Constant)
    }
    called |= {f"{name}.retrieve" for name in RETRIEVABLE.values()}
    assert sorted(called) == sorted(OPERATIONS)


@both_stores
@pytest.mark.gen_test
async def test_gauge_of_open_events_rises_and_falls(
    api: Api, service: Service, deferring: Deferring, store: str
) -> None:
    open_events = OpenEvents(service.store, service.registry, service.metrics, service.clock)
    for number in range(3):
        body = changed(PAID, id=f"evt_{number}", amount_received=1)
        await api.deliver(body)
    deferring.ends = Reject("no")
    await api.deliver(PAID)
    await service.worker.run_due()
    await open_events.refresh()
    gauge = (await series(api))["events_open"]
    assert {name: value for name, value in gauge.items() if value} == {
        labels(status="rejected", plugin="top-up-credits"): 3,
        labels(status="rejected", plugin="mailer"): 1,
    }

    database: Any = service.store._database
    await database.events.update_many({"_id": "evt_0"}, {"$set": {"rejected": []}})
    await database.events.update_many({}, {"$pull": {"rejected": "mailer"}})
    await database.events.update_many({"_id": "evt_1"}, {"$set": {"failed": ["mailer"]}})
    await open_events.refresh()
    gauge = (await series(api))["events_open"]
    assert {name: value for name, value in gauge.items() if value} == {
        labels(status="rejected", plugin="top-up-credits"): 2,
        labels(status="failed", plugin="mailer"): 1,
    }


@both_stores
@pytest.mark.gen_test
async def test_age_of_the_oldest_unfinished_event_rises_and_ends(
    api: Api, service: Service, clock: Clock, deferring: Deferring, store: str
) -> None:
    open_events = OpenEvents(service.store, service.registry, service.metrics, clock)

    async def deliver(body: bytes) -> None:
        assert (await api.deliver(body, sign(body, at=clock.timestamp()))).code == 200

    async def ages() -> dict[str, float]:
        await open_events.refresh()
        await open_events.measure_age()
        found = (await series(api))["oldest_unfinished_event_age_seconds"]
        return {dict(one)["status"]: value // 3600 for one, value in found.items()}

    assert await ages() == {"failed": 0, "rejected": 0, "deferred": 0}
    await deliver(PAID)  # its job waits
    clock.advance(hours=10)
    for number in range(3):
        await deliver(changed(PAID, id=f"evt_{number}", amount_received=1))
        clock.advance(hours=10)
    assert await ages() == {"failed": 0, "rejected": 30, "deferred": 40}
    deferring.ends = RuntimeError("down")
    await service.worker.run_due()
    clock.advance(hours=10)
    assert await ages() == {"failed": 50, "rejected": 40, "deferred": 50}
    deferring.ends = None
    clock.advance(hours=1)
    await service.worker.run_due()
    database: Any = service.store._database
    await database.events.update_many({}, {"$set": {"rejected": []}})
    assert await ages() == {"failed": 0, "rejected": 0, "deferred": 0}


@pytest.mark.mongod
@pytest.mark.gen_test
async def test_counting_open_events_reads_indexes_only(api: Api, service: Service) -> None:
    for number in range(5):
        await api.deliver(changed(PAID, id=f"evt_{number}", amount_received=1))
    database: Any = service.store._database
    await database.command("profile", 2)
    await OpenEvents(service.store, service.registry, service.metrics, service.clock).refresh()
    await database.command("profile", 0)
    profiled = await database["system.profile"].find({"ns": f"{database.name}.events"}).to_list(99)
    assert len(profiled) >= 3
    assert {one.get("docsExamined", 0) for one in profiled} == {0}


@pytest.mark.gen_test
async def test_gauge_of_open_events_is_refreshed_while_the_service_runs(
    api: Api, service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    await api.deliver(changed(PAID, amount_received=1))
    fails, refreshed = [StoreUnavailable()], asyncio.Event()
    original = OpenEvents.refresh

    async def refresh(open_events: OpenEvents) -> None:
        if fails:
            raise fails.pop()
        await original(open_events)
        refreshed.set()

    monkeypatch.setattr(OpenEvents, "refresh", refresh)
    monkeypatch.setattr("datalayer_stripe.webhooks.open_events.REFRESH_SECONDS", 0.01)
    await service.start()
    await asyncio.wait_for(refreshed.wait(), 60)
    gauge = (await series(api))["events_open"]
    assert gauge[labels(status="rejected", plugin="top-up-credits")] == 1


@pytest.mark.gen_test
async def test_periodic_tasks_show_their_last_success(
    api: Api, service: Service, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def last_successes() -> dict[str, float]:
        found = (await series(api))["task_last_success_timestamp_seconds"]
        return {dict(one)["task"]: value for one, value in found.items()}

    async def measurements_of_the_loop() -> float:
        return (await series(api))["event_loop_lag_seconds_count"][labels()]

    assert await last_successes() == {"worker": 0, "open_events": 0}
    assert await measurements_of_the_loop() == 0
    started_at = clock().timestamp()
    await service.start()
    async with asyncio.timeout(60):
        while 0 in (await last_successes()).values():  # noqa: ASYNC110 (two tasks set it)
            await asyncio.sleep(0.01)
        while not await measurements_of_the_loop():  # noqa: ASYNC110 (a timer sets it)
            await asyncio.sleep(0.01)
    assert all(started_at <= at <= clock().timestamp() for at in (await last_successes()).values())


@pytest.mark.mongod
@pytest.mark.gen_test
async def test_waits_for_connections_of_the_service_are_measured(api: Api) -> None:
    before = (await series(api))["mongodb_pool_wait_seconds_count"]
    await api.deliver(PAID)
    after = (await series(api))["mongodb_pool_wait_seconds_count"]
    assert after[labels(pool="service")] > before[labels(pool="service")]


@pytest.mark.gen_test
async def test_runs_of_plugins_are_timed(
    api: Api, service: Service, deferring: Deferring, series_at_zero: None
) -> None:
    await api.deliver(PAID)
    await api.deliver(changed(PAID, amount_received=1))  # rejected
    deferring.ends = RuntimeError("down")
    await service.worker.run_due()
    found = (await series(api))["run_seconds_count"]
    assert {dict(one)["plugin"] for one in found} == {
        plugin.name for plugin in service.registry.plugins
    }
    assert found[labels(plugin="top-up-credits")] == 2
    assert found[labels(plugin="mailer")] == 1
