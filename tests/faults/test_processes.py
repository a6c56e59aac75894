"""Kill real processes under load: nothing is lost, and nothing happens twice.

See `cluster_load` for the load. Meanwhile processes are killed with SIGKILL, or Stripe's API fails.
A run prints its seed; `DATALAYER_STRIPE_TEST_SEED` repeats it, as far as the machine's own timing
allows.
"""

import asyncio
import os
import random
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from pymongo import MongoClient

from datalayer_stripe.sandbox import Sandbox
from tests.faults import report
from tests.faults.cluster import environment_variables
from tests.faults.cluster_load import cluster_under_load
from tests.support.app import json_of
from tests.support.mongod import (
    Mongod,
    initiate,
    replica_set_url,
    wait_for_primary,
)
from tests.support.mongod import _is_member as is_member
from tests.support.mongod import _wait_for as wait_until
from tests.support.shop import Shop

pytestmark = pytest.mark.faults

KILLS_OF_SERVE = 20
KILLS_OF_MONGOD = 4
KILLS_OF_PRIMARY = 4

# A killed process leaves its transaction open on the server, by default for 60 s.
_TRANSACTION_SECONDS = 3

# A test that takes longer hangs. A start of `serve` takes 10 s on a busy machine.
_MAX_SECONDS = 900

_STRIPE_FAILURE_SECONDS = 15.0
_SLOW_RESPONSE_SECONDS = 7.0

NewMongod = Callable[[str | None], Mongod]


@pytest.fixture
def rng(request: pytest.FixtureRequest) -> random.Random:
    seed = int(os.environ.get("DATALAYER_STRIPE_TEST_SEED", time.time_ns() % 1_000_000))
    report.note("processes", request.node.name, f"seed {seed}")
    return random.Random(seed)


def report_silence(since: float) -> None:
    """Report how long no delivery was accepted. The sender measures how long one had to wait."""
    report.maximum("processes", longest_silence_seconds=time.monotonic() - since)


def start_one_node(new_mongod: NewMongod) -> tuple[Mongod, str]:
    mongod = new_mongod("rs0")
    initiate([mongod])
    limit_transactions(mongod)
    return mongod, replica_set_url([mongod])


def limit_transactions(mongod: Mongod) -> None:
    """Let the server end abandoned transactions soon. A restart resets this."""
    with MongoClient(mongod.direct_url) as client:
        client.admin.command(
            "setParameter", 1, transactionLifetimeLimitSeconds=_TRANSACTION_SECONDS
        )


def wait_for_members(members: Sequence[Mongod]) -> Mongod:
    """Wait until all members have joined again, and return the primary."""
    wait_until(lambda: all(map(is_member, members)), "the members have not joined")
    return wait_for_primary(members)


@pytest.mark.gen_test(timeout=_MAX_SECONDS)
async def test_killing_serve_loses_and_doubles_nothing(
    new_mongod: NewMongod,
    sandbox: Sandbox,
    shop: Shop,
    rng: random.Random,
    bearer: Callable[..., str],
    tmp_path: Path,
) -> None:
    _, url = start_one_node(new_mongod)
    variables = environment_variables(url, sandbox, shop)
    async with cluster_under_load(variables, tmp_path, sandbox, shop, rng, bearer) as load:
        for _ in range(KILLS_OF_SERVE):
            await load.sender.wait_for_accepted(rng.randint(1, 40))
            victim = rng.choice(load.cluster.services)
            await victim.kill()
            begun = time.monotonic()
            await load.sender.wait_for_accepted(1)
            report_silence(begun)
            await victim.start()
            await victim.wait_until_listening()
            report.count("processes", kills_of_serve=1)


@pytest.mark.gen_test(timeout=_MAX_SECONDS)
async def test_killing_mongod_loses_and_doubles_nothing(
    new_mongod: NewMongod,
    sandbox: Sandbox,
    shop: Shop,
    rng: random.Random,
    bearer: Callable[..., str],
    tmp_path: Path,
) -> None:
    mongod, url = start_one_node(new_mongod)
    variables = environment_variables(url, sandbox, shop)
    async with cluster_under_load(variables, tmp_path, sandbox, shop, rng, bearer) as load:
        for _ in range(KILLS_OF_MONGOD):
            await load.sender.wait_for_accepted(rng.randint(1, 100))
            mongod.kill()
            await load.cluster.wait_until_ready(503)
            answer = await load.cluster.services[0].get("/readyz")
            assert "database" in json_of(answer)["problems"]
            assert await load.cluster.services[0].status("/healthz") == 200
            # Deliveries of the moment of the kill succeed if mongod is back soon enough.
            await load.cluster.wait_until_delivery_failed()
            await asyncio.to_thread(mongod.start)
            begun = time.monotonic()
            limit_transactions(mongod)
            await load.sender.wait_for_accepted(1)
            report_silence(begun)
            await load.cluster.wait_until_ready()
            report.count("processes", kills_of_mongod=1)


@pytest.mark.gen_test(timeout=_MAX_SECONDS)
async def test_killing_the_primary_of_three_loses_and_doubles_nothing(
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
        limit_transactions(member)
    variables = environment_variables(replica_set_url(members), sandbox, shop)
    async with cluster_under_load(variables, tmp_path, sandbox, shop, rng, bearer) as load:
        for _ in range(KILLS_OF_PRIMARY):
            await load.sender.wait_for_accepted(rng.randint(1, 100))
            primary.kill()
            begun = time.monotonic()
            await load.sender.wait_for_accepted(1)
            report_silence(begun)
            await asyncio.to_thread(primary.start)
            limit_transactions(primary)
            primary = await asyncio.to_thread(wait_for_members, members)
            report.count("processes", kills_of_primary=1)


REFUSALS = {429, 500, 503}


class StripeFailures:
    """Random failures of Stripe's API, one after the other."""

    def __init__(self, sandbox: Sandbox, rng: random.Random) -> None:
        self._api = sandbox.api
        self._rng = rng
        self.slow = 0

    def add(self) -> None:
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


@pytest.mark.gen_test(timeout=_MAX_SECONDS)
async def test_failing_stripe_loses_and_doubles_nothing(
    new_mongod: NewMongod,
    sandbox: Sandbox,
    shop: Shop,
    rng: random.Random,
    bearer: Callable[..., str],
    tmp_path: Path,
) -> None:
    _, url = start_one_node(new_mongod)
    variables = environment_variables(url, sandbox, shop)
    failures = StripeFailures(sandbox, rng)
    async with cluster_under_load(variables, tmp_path, sandbox, shop, rng, bearer) as load:

        async def has_failed_in_each_way() -> bool:
            statuses = {call.status for call in sandbox.api.calls}
            deliveries = "datalayer_stripe_deliveries_total"
            return bool(
                statuses & REFUSALS
                and None in statuses
                and await load.cluster.metric(deliveries, outcome="failed")
            )

        await load.sender.wait_for_accepted(20)
        # Longer than the service's timeout of a call.
        sandbox.api.delay(_SLOW_RESPONSE_SECONDS, 4, "/v1/subscriptions")
        begun = time.monotonic()
        while (
            time.monotonic() < begun + _STRIPE_FAILURE_SECONDS or not await has_failed_in_each_way()
        ):
            failures.add()
            await load.sender.wait_for_accepted(rng.randint(1, 40))
        # Slow calls are still in progress.
        assert await load.cluster.metric("datalayer_stripe_stripe_calls_total", outcome="ok")
        total = await load.cluster.metric("datalayer_stripe_stripe_calls_total")
        failed = total - await load.cluster.metric(
            "datalayer_stripe_stripe_calls_total", outcome="ok"
        )
        assert failed, "the metrics count no failed call to Stripe"
        sandbox.api.normal()
        begun = time.monotonic()
        await load.sender.wait_for_accepted(1)
        report_silence(begun)
    statuses = Counter(call.status for call in sandbox.api.calls)
    refused = sum(statuses[status] for status in REFUSALS)
    assert refused
    assert statuses[None]
    report.count(
        "processes",
        stripe_calls=statuses.total(),
        stripe_refusals=refused,
        stripe_cuts=statuses[None],
        stripe_delays=failures.slow + 4,
    )
