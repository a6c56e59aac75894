"""More than can be taken, and plugins that hang: bounded work, quick refusals, nobody starved."""

import asyncio
import gc
import json
import os
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry, Gauge
from tornado.httpclient import HTTPResponse

from datalayer_stripe import Context, Event, Plugin
from datalayer_stripe.errors import DeliveryFailed, Overloaded, StoreUnavailable
from datalayer_stripe.limits import Admission
from datalayer_stripe.plugin_api.registry import Registry
from datalayer_stripe.sandbox import Sandbox
from datalayer_stripe.service import Service, open_service
from datalayer_stripe.settings import Settings
from datalayer_stripe.store import connect
from datalayer_stripe.webhooks import delivery
from tests.faults import report
from tests.faults.cluster import cluster, environment, until
from tests.support.app import Api, Clock, json_of, recorded, sign
from tests.support.shop import Shop, rows

pytestmark = pytest.mark.mongod

PAID = json.loads(recorded("payment_intent.succeeded"))

MOST = 8
MOST_OF_ONE = 3
MOST_OF_TYPE = 7


SUCCEEDED = "payment_intent.succeeded"
PROCESSING = "payment_intent.processing"  # moves no money: only the gate runs on it


def payment(account: str, number: int, padding: int = 0, *, event_type: str = SUCCEEDED) -> bytes:
    """A top-up's event, another one for each account and number; `padding` makes it long."""
    event = json.loads(json.dumps(PAID))
    event["type"] = event_type
    event["id"] = f"evt_{account}_{number}"
    intent = event["data"]["object"]
    intent["id"] = f"pi_{account}_{number}"
    intent["customer"] = None
    intent["description"] = "x" * padding
    intent["metadata"]["account_uid"] = account
    return json.dumps(event).encode()


class Gate:
    """A plugin that hangs on the events of some accounts until it is let go."""

    def __init__(self) -> None:
        self.holds: Callable[[str], bool] = lambda _: True
        self.opened = asyncio.Event()
        self.inside = 0
        self.most_inside = 0
        self.plugin = Plugin("gate", order=1, timeout=10)

        @self.plugin.on(SUCCEEDED, PROCESSING)
        async def pass_through(event: Event, ctx: Context) -> None:
            ctx.collection.update_one({"_id": event.id}, {"$inc": {"n": 1}}, upsert=True)
            if self.holds(event.object["metadata"]["account_uid"]):
                self.inside += 1
                self.most_inside = max(self.most_inside, self.inside)
                try:
                    await self.opened.wait()
                finally:
                    self.inside -= 1

    def limit(self, seconds: float) -> None:
        """Let a run take no longer."""
        registrations = self.plugin._registrations
        for name, registration in registrations.items():
            registrations[name] = replace(registration, seconds=seconds)

    async def held(self, number: int) -> None:
        """Wait until so many hang."""

        async def reached() -> bool:
            return self.inside == number

        await until(reached, f"{self.inside} hang, not {number}")


@pytest.fixture
def gate() -> Gate:
    return Gate()


@pytest.fixture
def extra_plugins(gate: Gate) -> list[Plugin]:
    return [gate.plugin]


@pytest.fixture(autouse=True)
def opened_at_the_end(service: Service, gate: Gate) -> Iterator[None]:
    """Also where a test has failed: the service's end waits for what hangs."""
    yield
    gate.opened.set()


@pytest.fixture
def small(service: Service) -> Service:
    """A service that takes little at once."""
    gauge = service.metrics.deliveries_in_flight
    service.processor._admission = Admission(gauge, limit=MOST)
    service.processor._money_admission = Admission(gauge, limit=MOST)
    return service


def in_flight(service: Service) -> float:
    value = service.metrics.registry.get_sample_value("datalayer_stripe_deliveries_in_flight")
    assert value is not None
    return value


def counted(service: Service, outcome: str) -> float:
    """The deliveries counted with this outcome."""
    return sum(
        sample.value
        for family in service.metrics.registry.collect()
        for sample in family.samples
        if sample.name == "datalayer_stripe_deliveries_total"
        and sample.labels["outcome"] == outcome
    )


def assert_overloaded(answers: Sequence[HTTPResponse]) -> None:
    for answer in answers:
        assert answer.code == 503
        assert json_of(answer)["code"] == "overloaded"
        assert int(answer.headers["Retry-After"]) > 0


async def applied(service: Service) -> list[int]:
    """How often the gate's own write was applied, for each event."""
    return [row["n"] for row in await rows(service, "plugin_gate")]


@pytest.mark.gen_test
async def test_what_is_too_much_is_refused_before_any_work(
    api: Api, small: Service, gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: Counter[str] = Counter()
    runs = small.store.events.runs

    async def counting(event_ids: Sequence[str]) -> dict[str, dict[str, str]]:
        asked.update(event_ids)
        return await runs(event_ids)

    monkeypatch.setattr(small.store.events, "runs", counting)
    bodies = [payment(f"account-{number}", 1, event_type=PROCESSING) for number in range(40)]
    admitted = [asyncio.create_task(api.deliver(body)) for body in bodies[:MOST_OF_TYPE]]
    await gate.held(MOST_OF_TYPE)
    assert in_flight(small) == MOST_OF_TYPE
    # Nothing has to end for these to be answered.
    refused = await asyncio.gather(*(api.deliver(body) for body in bodies[MOST_OF_TYPE:]))
    assert_overloaded(refused)
    assert asked.total() == MOST_OF_TYPE, "a refused delivery has come to the database"
    assert counted(small, "overloaded") == len(refused)

    gate.opened.set()
    assert {answer.code for answer in await asyncio.gather(*admitted)} == {200}
    assert (gate.most_inside, in_flight(small)) == (MOST_OF_TYPE, 0)
    for body in bodies[MOST_OF_TYPE:]:
        assert (await api.deliver(body)).code == 200, (
            "what was refused is taken when it comes again"
        )
    assert await applied(small) == [1] * len(bodies)
    report.count("load", deliveries=2 * len(bodies) - MOST_OF_TYPE, refused=len(refused))


@pytest.mark.gen_test
async def test_a_slow_account_leaves_room_for_the_others(
    api: Api, small: Service, gate: Gate
) -> None:
    gate.holds = lambda account: account == "slow"
    slow = [asyncio.create_task(api.deliver(payment("slow", n))) for n in range(MOST_OF_ONE)]
    await gate.held(MOST_OF_ONE)
    assert_overloaded([await api.deliver(payment("slow", MOST_OF_ONE))])
    others = [payment(f"account-{number}", 1) for number in range(MOST_OF_TYPE - MOST_OF_ONE)]
    answers = await asyncio.gather(*(api.deliver(body) for body in others))
    assert {answer.code for answer in answers} == {200}
    assert await api.credits("account-0") == 50
    assert not any(task.done() for task in slow)
    gate.opened.set()
    assert {answer.code for answer in await asyncio.gather(*slow)} == {200}
    # The money has moved of what was refused, too.
    assert await api.credits("slow") == 50 * (MOST_OF_ONE + 1)
    report.count("load", deliveries=MOST_OF_TYPE + 1, refused=1)


@pytest.mark.gen_test
async def test_plugins_that_hang_leave_room_for_the_credits(
    api: Api, small: Service, gate: Gate
) -> None:
    bodies = [payment(f"account-{number}", 1) for number in range(MOST_OF_TYPE + 20)]
    hanging = [asyncio.create_task(api.deliver(body)) for body in bodies[:MOST_OF_TYPE]]
    await gate.held(MOST_OF_TYPE)
    # Refused, since what does not move money has no room; Stripe delivers them again.
    assert_overloaded([await api.deliver(body) for body in bodies[MOST_OF_TYPE:]])
    assert {await api.credits(f"account-{number}") for number in range(len(bodies))} == {50}
    assert gate.most_inside == in_flight(small) == MOST_OF_TYPE

    gate.opened.set()
    assert {answer.code for answer in await asyncio.gather(*hanging)} == {200}
    for body in bodies[MOST_OF_TYPE:]:
        assert json_of(await api.deliver(body))["outcome"] == "processed"
    assert await applied(small) == [1] * len(bodies)
    assert in_flight(small) == 0
    report.count("load", deliveries=2 * len(bodies) - MOST_OF_TYPE, refused=20)


def test_hogs_leave_room_for_a_newcomer_and_for_other_types() -> None:
    """Whoever asks again and again, for ever slow work."""
    gauge = CollectorRegistry()
    with ExitStack() as held:
        admission = Admission(Gauge("in_flight", "…", registry=gauge))

        def admitted(owner: str, event_type: str) -> bool:
            try:
                held.enter_context(admission.admit(owner, event_type))
            except Overloaded:
                return False
            return True

        for _ in range(300):
            for hog in range(12):
                admitted(f"hog-{hog}", "slow.type")
        assert admitted("newcomer", "slow.type")
        for number in range(1000):
            admitted(f"account-{number}", "slow.type")
        assert not admitted("one more", "slow.type")
        assert admitted("newcomer", "other.type")


@pytest.mark.gen_test
async def test_a_plugin_that_hangs_is_cut_and_its_event_comes_again(
    api: Api, service: Service, gate: Gate
) -> None:
    gate.limit(0.2)
    body = payment("slow", 1)
    answer = await api.deliver(body)
    assert (answer.code, json_of(answer)["code"]) == (503, "delivery_failed")
    assert gate.inside == 0
    [event] = await rows(service, "events")
    assert event["failed"] == ["gate"]
    assert event["handlers"]["gate"]["error"] == "it took longer than 0.2 s"
    assert await applied(service) == []
    assert await api.credits("slow") == 50, "another plugin's failure costs no credits"
    assert counted(service, "failed") == 1

    gate.opened.set()
    assert json_of(await api.deliver(body))["outcome"] == "processed"
    assert await applied(service) == [1]
    assert await api.credits("slow") == 50


@pytest.mark.gen_test
async def test_every_delivery_is_answered_in_time_and_what_is_late_still_ends_once(
    api: Api, service: Service, gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    body = payment("slow", 1)
    with monkeypatch.context() as hurry:
        hurry.setattr(delivery, "ANSWER_DEADLINE_SECONDS", 0.3)
        # Stripe has had its answer and delivers again, while the first are still being worked on.
        for late in range(1, 4):
            answer = await api.deliver(body)
            assert (answer.code, json_of(answer)["code"]) == (503, "delivery_failed")
            assert in_flight(service) == late
            await gate.held(late)
    assert await applied(service) == []

    gate.opened.set()
    await service.deliveries.idle()
    assert in_flight(service) == 0
    assert await applied(service) == [1]
    assert await api.credits("slow") == 50
    assert json_of(await api.deliver(body))["outcome"] == "duplicate"


async def unavailable(*_: object) -> None:
    raise StoreUnavailable


@pytest.mark.gen_test
async def test_what_is_late_and_fails_is_logged_and_comes_again(
    api: Api,
    service: Service,
    gate: Gate,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    body = payment("slow", 1)
    with monkeypatch.context() as outage:
        outage.setattr(delivery, "ANSWER_DEADLINE_SECONDS", 0.3)
        assert (await api.deliver(body)).code == 503
        outage.setattr(service.store, "commit", unavailable)
        outage.setattr(service.store.events, "record_failure", unavailable)
        gate.opened.set()
        await service.deliveries.idle()
    assert "delivery failed after its deadline" in caplog.messages
    assert counted(service, "failed") == 1
    gc.collect()
    assert not [message for message in caplog.messages if "never retrieved" in message]
    assert json_of(await api.deliver(body))["outcome"] == "processed"


@pytest.mark.gen_test
async def test_a_shutdown_waits_for_what_is_late(
    settings: Settings, clock: Clock, gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(delivery, "ANSWER_DEADLINE_SECONDS", 0.1)
    registry = Registry((*Registry.load().plugins, gate.plugin))
    service = await open_service(settings, registry=registry, clock=clock)
    body = payment("slow", 1)
    with pytest.raises(DeliveryFailed):
        await service.deliveries.receive(body, sign(body))
    closing = asyncio.create_task(service.close())
    await asyncio.wait({closing}, timeout=0.1)
    assert not closing.done()
    gate.opened.set()
    await closing

    store = await connect(settings.stripe_mongodb_url.get_secret_value(), livemode=False)
    assert (await store.accounts.get("slow")).credits == 50
    kept = await store.events.get("evt_slow_1")
    assert kept is not None
    assert {run.status for run in kept.handlers.values()} == {"done"}
    await store.close()


ROUNDS = 12
PADDING = 20_000
# A leak of the bodies would be ROUNDS * 200 * PADDING = 48 MB.
FLAT = 24 * 1024 * 1024


def resident_bytes(pid: int) -> int:
    """The memory of a process: proc(5), statm."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.faults
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.gen_test
async def test_memory_stays_flat_under_more_than_can_be_taken(
    mongodb_url: str, sandbox: Sandbox, shop: Shop, api: Api, tmp_path: Path
) -> None:
    codes: Counter[int] = Counter()
    async with cluster(environment(mongodb_url, sandbox, shop), tmp_path, size=1) as running:
        api.url = running.url
        [served] = running.services

        async def burst(number: int) -> None:
            """200 deliveries at once, of one account: more than is its share."""
            bodies = [payment("hot", number * 200 + n, PADDING) for n in range(200)]
            answers = await asyncio.gather(*(api.deliver(body) for body in bodies))
            codes.update(answer.code for answer in answers)

        for number in range(4):  # caches fill, pools open
            await burst(number)
        before = resident_bytes(served.pid)
        for number in range(4, 4 + ROUNDS):
            await burst(number)
        grown = resident_bytes(served.pid) - before
        assert await served.metric("datalayer_stripe_deliveries_in_flight") == 0
        assert await served.metric("datalayer_stripe_deliveries_total", outcome="overloaded")
        assert running.surprises() == []
    assert set(codes) == {200, 503}
    assert grown < FLAT, f"{grown / 2**20:.1f} MB more"
    report.count("load", deliveries=codes.total(), refused=codes[503])
    report.highest("load", megabytes_grown=grown / 2**20)
