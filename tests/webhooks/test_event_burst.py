"""A burst of subscription events stays below Stripe's rate, and never turns into errors."""

import asyncio
import json
from collections import Counter
from collections.abc import Awaitable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import stripe
from tornado.ioloop import IOLoop

from datalayer_stripe.composition import open_service
from datalayer_stripe.metrics import Metrics
from datalayer_stripe.plugin_api.isolation import run_isolated
from datalayer_stripe.plugin_api.registry import Registry
from datalayer_stripe.service import Service
from datalayer_stripe.settings import Settings
from datalayer_stripe.stripe_api.client import StripeClient
from datalayer_stripe.stripe_api.permits import CallRates, LocalPermits
from datalayer_stripe.stripe_api.rate_limit import CallLimiter
from tests.support.app import changed, recorded, sign
from tests.support.database_calls import DatabaseCalls
from tests.support.shop import rows
from tests.support.virtual_time import VirtualTime

UPDATED = recorded("customer.subscription.updated")
START = datetime(2026, 11, 2, 9, 30, tzinfo=UTC)
MONTH_LATER = int((START + timedelta(days=31)).timestamp())

# As many as Stripe sends at once, and fewer than a process admits.
CONNECTIONS = 200

_LONG_SECONDS = 300.0

pytestmark = pytest.mark.mongod


class FakeStripe(StripeClient):
    """Has subscriptions, which change with each event, and notes when they are read."""

    def __init__(self, time: VirtualTime, limiter: CallLimiter) -> None:
        super().__init__("sk_test_example", metrics=Metrics(), limiter=limiter)
        self._time = time
        self.subscriptions: dict[str, dict[str, Any]] = {}
        self.read_at: list[float] = []
        self.refusals = 0

    def change(self, number: int) -> bytes:
        """Change a subscription, and return the body of the event about it."""
        subscription_id = f"sub_{number}"
        before = self.subscriptions.get(subscription_id, {"cancel_at": MONTH_LATER})
        fields = {
            "id": subscription_id,
            "customer": f"cus_{number}",
            "metadata": {"account_uid": f"account_{number}"},
            "cancel_at": before["cancel_at"] + 1,
        }
        body = changed(UPDATED, id=f"evt_{number}_{fields['cancel_at']}", **_without_id(fields))
        event = json.loads(body)
        event["data"]["object"]["id"] = subscription_id
        self.subscriptions[subscription_id] = event["data"]["object"]
        return json.dumps(event).encode()

    async def retrieve_subscription(self, subscription_id: str) -> dict[str, Any]:
        return await self.transport.call("subscriptions.retrieve", self._read(subscription_id))

    async def _read(self, subscription_id: str) -> stripe.StripeObject:
        self.read_at.append(self._time.now)
        if self.refusals:
            self.refusals -= 1
            raise stripe.RateLimitError("slow", code="rate_limit", headers={"retry-after": "3"})
        data = json.loads(json.dumps(self.subscriptions[subscription_id]))
        await asyncio.sleep(0)  # a later change is not in the answer
        return stripe.StripeObject.construct_from(data, "sk_test_example")


def _without_id(fields: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if name != "id"}


class Burst:
    """A service whose time the test moves, with its fake Stripe."""

    def __init__(
        self, service: Service, fake: FakeStripe, time: VirtualTime, calls: DatabaseCalls
    ) -> None:
        self._calls = calls
        self.service = service
        self.fake = fake
        self.time = time
        self.outcomes: Counter[str] = Counter()
        self._slots = asyncio.Semaphore(CONNECTIONS)

    async def deliver(self, number: int) -> None:
        """Change a subscription, and deliver its event. An answer that is not 2xx is raised."""
        async with self._slots:
            body = self.fake.change(number)
            signature = sign(body, at=self.service.clock().timestamp())
            _, outcome = await self.service.deliveries.receive(body, signature)
            self.outcomes[outcome.value] += 1

    async def run_jobs(self) -> None:
        """Run the deferred jobs until there are none."""
        while await self.service.store.jobs.count():
            await self.service.worker.run_due()
            self.time.now += 0.1

    async def run(self, work: Awaitable[Any]) -> None:
        """Await `work`, and move the time on as long as calls wait for it."""
        task = asyncio.ensure_future(work)
        while not task.done():
            for _ in range(10):  # a call that was woken notes its time
                await asyncio.sleep(0)
            if await self._database_is_idle(task):
                self.time.advance()
        await task

    async def _database_is_idle(self, task: asyncio.Future[Any]) -> bool:
        """Return whether no call has run for some milliseconds. Time does not move meanwhile."""
        for _ in range(3):
            await asyncio.wait({task}, timeout=0.001)
            if self._calls.running or task.done():
                return False
        return True

    async def assert_equal_to_stripe(self) -> None:
        """Assert that each stored snapshot shows the last change."""
        stored = {row["_id"]: row for row in await rows(self.service, "subscriptions")}
        assert stored.keys() == self.fake.subscriptions.keys()
        for subscription_id, subscription in self.fake.subscriptions.items():
            cancel_at = datetime.fromtimestamp(subscription["cancel_at"], UTC)
            assert stored[subscription_id]["cancel_at"] == cancel_at, subscription_id

    def assert_below(self, rate: float) -> None:
        """Assert that no second has more calls than the rate, wherever it begins."""
        calls = self.fake.read_at
        for index, start in enumerate(calls):
            in_second = sum(one < start + 1 - 1e-6 for one in calls[index : index + 200])
            assert in_second <= rate, f"{in_second} calls in the second from {start}"


@pytest.fixture
def unhurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """Raise the limits of real time above the length of a test."""
    for name in (
        "store.errors.CALL_SECONDS",
        "store.commit.CALL_SECONDS",
        "store.commit.COMMIT_SECONDS",
        "webhooks.delivery.ANSWER_DEADLINE_SECONDS",
    ):
        monkeypatch.setattr(f"datalayer_stripe.{name}", _LONG_SECONDS)
    monkeypatch.setattr(
        "datalayer_stripe.webhooks.runner.run_isolated",
        lambda work, _: run_isolated(work, _LONG_SECONDS),
    )


@pytest.fixture
def burst(
    io_loop: IOLoop,
    settings: Settings,
    mongodb_url: str,
    database_calls: DatabaseCalls,
    unhurried: None,
) -> Iterator[Burst]:
    time = VirtualTime()
    rates = CallRates.allowed_by(25, livemode=False)
    limiter = CallLimiter(rates, monotonic=time.monotonic, sleep=time.sleep)
    fake = FakeStripe(time, limiter)

    async def start() -> Service:
        return await open_service(
            settings,
            registry=Registry.load(),
            clock=lambda: START + timedelta(seconds=time.now),
            stripe=fake,
        )

    service = io_loop.run_sync(start)
    yield Burst(service, fake, time, database_calls)
    io_loop.run_sync(service.close)


@pytest.mark.gen_test
@pytest.mark.parametrize(
    ("events", "subscriptions", "max_calls"),
    [
        (300, 30, 120),
        (300, 300, 300),
        pytest.param(1000, 100, 400, marks=pytest.mark.faults),
        pytest.param(1000, 1000, 1000, marks=pytest.mark.faults),
    ],
)
async def test_burst_of_events_never_fails_and_stays_below_the_rate(
    burst: Burst, events: int, subscriptions: int, max_calls: int
) -> None:
    deliveries = (burst.deliver(number % subscriptions) for number in range(events))
    await burst.run(asyncio.gather(*deliveries))
    assert burst.outcomes.total() == events
    assert set(burst.outcomes) == {"processed", "deferred"}
    await burst.run(burst.run_jobs())
    await burst.assert_equal_to_stripe()
    assert subscriptions <= len(burst.fake.read_at) <= max_calls
    burst.assert_below(25)
    assert await rows(burst.service, "jobs") == []
    stored = await rows(burst.service, "events")
    assert len(stored) == events
    assert {run["status"] for row in stored for run in row["handlers"].values()} == {"done"}
    assert [row for row in stored if row.get("failed")] == []


@pytest.mark.gen_test
async def test_answers_429_of_stripe_turn_into_jobs(burst: Burst) -> None:
    burst.fake.refusals = 5
    await burst.run(asyncio.gather(*(burst.deliver(number) for number in range(50))))
    assert set(burst.outcomes) == {"processed", "deferred"}
    await burst.run(burst.run_jobs())
    await burst.assert_equal_to_stripe()
    assert burst.fake.refusals == 0
    events = await rows(burst.service, "events")
    assert {run["status"] for row in events for run in row["handlers"].values()} == {"done"}


@pytest.mark.gen_test
async def test_change_during_a_read_is_read_again(burst: Burst) -> None:
    await burst.run(asyncio.gather(*(burst.deliver(1) for _ in range(5))))
    shared = len(burst.fake.read_at)
    assert shared < 5, "events that come together share a read"

    read, later = burst.fake._read, []

    async def read_and_change(subscription_id: str) -> stripe.StripeObject:
        answer = await read(subscription_id)
        if not later:
            later.append(asyncio.create_task(burst.deliver(1)))
        return answer

    burst.fake._read = read_and_change  # type: ignore[method-assign]
    await burst.run(burst.deliver(1))
    await burst.run(later[0])
    assert len(burst.fake.read_at) == shared + 2
    await burst.assert_equal_to_stripe()


@pytest.mark.gen_test
async def test_event_that_comes_after_the_ticket_has_a_read_of_its_own(burst: Burst) -> None:
    subscriptions = burst.service.store.subscriptions
    take_ticket, fetch_shared = subscriptions.take_ticket, burst.service.subscriptions.fetch_shared
    later, second_asks = [], asyncio.Event()

    async def take_and_wait(subscription_id: str) -> int:
        ticket = await take_ticket(subscription_id)
        if not later:
            later.append(asyncio.create_task(burst.deliver(1)))
            await second_asks.wait()
        return ticket

    def note(subscription_id: str) -> Awaitable[Any]:
        if later:
            second_asks.set()
        return fetch_shared(subscription_id)

    subscriptions.take_ticket = take_and_wait  # type: ignore[method-assign]
    object.__setattr__(burst.service.subscriptions, "fetch_shared", note)
    await burst.run(burst.deliver(1))
    await burst.run(later[0])
    assert len(burst.fake.read_at) == 2
    await burst.assert_equal_to_stripe()


@pytest.mark.gen_test
async def test_refresh_of_a_subscription_leases_one_permit(
    burst: Burst, monkeypatch: pytest.MonkeyPatch
) -> None:
    lease, granted = LocalPermits.lease, []

    async def note(*args: Any, **options: Any) -> tuple[int, float]:
        number, delay = await lease(*args, **options)
        granted.append(number)
        return number, delay

    monkeypatch.setattr(LocalPermits, "lease", note)
    await burst.run(asyncio.gather(*(burst.deliver(number) for number in range(5))))
    assert sum(granted) == len(burst.fake.read_at) == 5
