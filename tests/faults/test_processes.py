"""Real processes, really killed, under load: nothing is lost, nothing happens twice.

Two `serve` processes on one database behind a round-robin. People buy and subscribe through them
and elsewhere, and a courier delivers the events, in no order, some twice, each until it is taken.
Meanwhile processes are killed with SIGKILL, or Stripe's API is in trouble. A run prints its seed;
`DATALAYER_STRIPE_TEST_SEED` repeats it, as far as the machine's own timing allows.
"""

import asyncio
import os
import random
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from pymongo import MongoClient

from datalayer_stripe.plugin_api.registry import Registry
from datalayer_stripe.sandbox import Sandbox
from tests.faults import report
from tests.faults.cluster import Cluster, cluster, environment
from tests.faults.consistency_checks import check_books, check_buyer
from tests.faults.webhook_sender import Courier
from tests.faults.workload import BUYERS, Buyer, Trade
from tests.support.app import json_of
from tests.support.mongod import (
    Mongod,
    initiate,
    replica_set_url,
    wait_for_primary,
)
from tests.support.mongod import _is_member as is_member
from tests.support.mongod import _wait_for as wait_until
from tests.support.shop import WEBHOOK_ROUTE, Shop

pytestmark = pytest.mark.faults

KILLS_OF_SERVE = 20
KILLS_OF_MONGOD = 4
KILLS_OF_PRIMARY = 4

# A process that is killed inside a transaction leaves it open on the server, for 60 s by default.
_TRANSACTION_SECONDS = 3

# So much is on its way at once; enough that every kill hits something.
_PRESSURE = 60

_TROUBLED_SECONDS = 15.0
_TIME_OUT_SECONDS = 7.0

NewMongod = Callable[[str | None], Mongod]


@pytest.fixture
def rng(request: pytest.FixtureRequest) -> random.Random:
    seed = int(os.environ.get("DATALAYER_STRIPE_TEST_SEED", time.time_ns() % 1_000_000))
    report.note("processes", request.node.name, f"seed {seed}")
    return random.Random(seed)


@dataclass
class Siege:
    """A cluster under load."""

    cluster: Cluster
    courier: Courier
    sandbox: Sandbox
    rng: random.Random


@asynccontextmanager
async def siege(
    variables: dict[str, str],
    folder: Path,
    sandbox: Sandbox,
    shop: Shop,
    rng: random.Random,
    bearer: Callable[..., str],
) -> AsyncIterator[Siege]:
    """Load as long as the block lasts; at its end everything gets through, and the books hold."""
    async with cluster(variables, folder) as running:
        courier = Courier(sandbox, running.url + WEBHOOK_ROUTE, Registry.load().types, rng)
        buyers = [Buyer(name, running.url, bearer(name), sandbox, shop) for name in BUYERS]
        courier.start()
        stopped = asyncio.Event()
        people = [
            asyncio.create_task(work)
            for work in (
                _trade(Trade(sandbox, shop, rng), courier, stopped),
                *(buyer.go_shopping(lambda: _room(courier, stopped)) for buyer in buyers),
            )
        ]
        try:
            yield Siege(running, courier, sandbox, rng)
            await running.until_ready()
            stopped.set()
            await asyncio.gather(*people)
            courier.collect()
            await courier.idle()
        finally:
            for one in people:
                one.cancel()
            await asyncio.gather(*people, return_exceptions=True)
            await courier.stop()
        assert all(served.running for served in running.services)
        assert running.surprises() == []
        figures = check_books(variables["DATALAYER_STRIPE_MONGODB_URL"], sandbox, shop)
        for buyer in buyers:
            check_buyer(sandbox, buyer.account, buyer.bought)
        report.count(
            "processes",
            deliveries=courier.outcomes.total(),
            deliveries_not_taken=courier.outcomes.total() - courier.outcomes["taken"],
            **figures,
        )
        report.highest("processes", slowest_event_seconds=courier.slowest)


async def _room(courier: Courier, stopped: asyncio.Event) -> bool:
    """Wait until more may happen; whether it is to."""
    while courier.outstanding >= _PRESSURE and not stopped.is_set():  # noqa: ASYNC110 (either one)
        await asyncio.sleep(0.01)
    return not stopped.is_set()


async def _trade(trade: Trade, courier: Courier, stopped: asyncio.Event) -> None:
    while await _room(courier, stopped):
        trade.happen()
        courier.collect()
        await asyncio.sleep(0)


def recovered(since: float) -> None:
    """Keep how long no delivery got through; how long one had to wait, the courier measures."""
    report.highest("processes", longest_silence_seconds=time.monotonic() - since)


def one_node(new_mongod: NewMongod) -> tuple[Mongod, str]:
    mongod = new_mongod("rs0")
    initiate([mongod])
    bound_transactions(mongod)
    return mongod, replica_set_url([mongod])


def bound_transactions(mongod: Mongod) -> None:
    """Let the server end soon what a killed process has left open; it forgets this when it ends."""
    with MongoClient(mongod.direct_url) as client:
        client.admin.command(
            "setParameter", 1, transactionLifetimeLimitSeconds=_TRANSACTION_SECONDS
        )


def wait_for_members(members: Sequence[Mongod]) -> Mongod:
    """Wait until all members have joined again; the primary."""
    wait_until(lambda: all(map(is_member, members)), "the members have not joined")
    return wait_for_primary(members)


@pytest.mark.gen_test
async def test_a_service_is_killed_again_and_again(
    new_mongod: NewMongod,
    sandbox: Sandbox,
    shop: Shop,
    rng: random.Random,
    bearer: Callable[..., str],
    tmp_path: Path,
) -> None:
    _, url = one_node(new_mongod)
    variables = environment(url, sandbox, shop)
    async with siege(variables, tmp_path, sandbox, shop, rng, bearer) as under:
        for _ in range(KILLS_OF_SERVE):
            await under.courier.taken(rng.randint(1, 40))
            victim = rng.choice(under.cluster.services)
            await victim.kill()
            begun = time.monotonic()
            await under.courier.taken(1)
            recovered(begun)
            await victim.start()
            await victim.listening()
            report.count("processes", kills_of_serve=1)


@pytest.mark.gen_test
async def test_mongod_is_killed_and_comes_back(
    new_mongod: NewMongod,
    sandbox: Sandbox,
    shop: Shop,
    rng: random.Random,
    bearer: Callable[..., str],
    tmp_path: Path,
) -> None:
    mongod, url = one_node(new_mongod)
    variables = environment(url, sandbox, shop)
    async with siege(variables, tmp_path, sandbox, shop, rng, bearer) as under:
        for _ in range(KILLS_OF_MONGOD):
            await under.courier.taken(rng.randint(1, 100))
            mongod.kill()
            await under.cluster.until_ready(503)
            answer = await under.cluster.services[0].get("/readyz")
            assert "database" in json_of(answer)["problems"]
            assert await under.cluster.services[0].status("/healthz") == 200
            await asyncio.to_thread(mongod.start)
            begun = time.monotonic()
            bound_transactions(mongod)
            await under.courier.taken(1)
            recovered(begun)
            await under.cluster.until_ready()
            report.count("processes", kills_of_mongod=1)
        assert await under.cluster.metric("datalayer_stripe_deliveries_total", outcome="failed")


@pytest.mark.gen_test
async def test_the_primary_of_three_is_killed(
    new_mongod: NewMongod,
    sandbox: Sandbox,
    shop: Shop,
    rng: random.Random,
    bearer: Callable[..., str],
    tmp_path: Path,
) -> None:
    members = [new_mongod("rs0") for _ in range(3)]
    primary = initiate(members)
    for member in members:
        bound_transactions(member)
    variables = environment(replica_set_url(members), sandbox, shop)
    async with siege(variables, tmp_path, sandbox, shop, rng, bearer) as under:
        for _ in range(KILLS_OF_PRIMARY):
            await under.courier.taken(rng.randint(1, 100))
            primary.kill()
            begun = time.monotonic()
            await under.courier.taken(1)
            recovered(begun)
            await asyncio.to_thread(primary.start)
            bound_transactions(primary)
            primary = await asyncio.to_thread(wait_for_members, members)
            report.count("processes", kills_of_primary=1)


class Trouble:
    """One kind of trouble at Stripe's API after another."""

    def __init__(self, sandbox: Sandbox, rng: random.Random) -> None:
        self._api = sandbox.api
        self._rng = rng
        self.slow = 0

    def some_more(self) -> None:
        times = self._rng.randint(1, 6)
        match self._rng.randrange(6):
            case 0 | 1 | 2 as which:
                self._api.refuse((429, 500, 503)[which], times)
            case 3:
                self._api.cut(times)
            case 4:
                self._api.cut(times, cut_after=True)
            case 5:
                self._api.delay(self._rng.uniform(0.2, 1.0), times)
                self.slow += times


@pytest.mark.gen_test
async def test_stripe_is_in_trouble(
    new_mongod: NewMongod,
    sandbox: Sandbox,
    shop: Shop,
    rng: random.Random,
    bearer: Callable[..., str],
    tmp_path: Path,
) -> None:
    _, url = one_node(new_mongod)
    variables = environment(url, sandbox, shop)
    trouble = Trouble(sandbox, rng)
    async with siege(variables, tmp_path, sandbox, shop, rng, bearer) as under:
        await under.courier.taken(20)
        # Beyond the service's own bound on an attempt.
        sandbox.api.delay(_TIME_OUT_SECONDS, 4, "/v1/subscriptions")
        begun = time.monotonic()
        while time.monotonic() < begun + _TROUBLED_SECONDS:
            trouble.some_more()
            await under.courier.taken(rng.randint(1, 40))
        # Those that are slow are still at it.
        assert await under.cluster.metric("datalayer_stripe_stripe_calls_total", outcome="ok")
        seen = await under.cluster.metric("datalayer_stripe_stripe_calls_total")
        failed = seen - await under.cluster.metric(
            "datalayer_stripe_stripe_calls_total", outcome="ok"
        )
        assert failed, "the metrics tell of no call to Stripe that failed"
        assert await under.cluster.metric("datalayer_stripe_deliveries_total", outcome="failed")
        sandbox.api.normal()
        begun = time.monotonic()
        await under.courier.taken(1)
        recovered(begun)
    statuses = Counter(call.status for call in sandbox.api.calls)
    refused = sum(statuses[status] for status in (429, 500, 503))
    assert refused
    assert statuses[None]
    report.count(
        "processes",
        stripe_calls=statuses.total(),
        stripe_refusals=refused,
        stripe_cuts=statuses[None],
        stripe_delays=trouble.slow + 4,
    )
