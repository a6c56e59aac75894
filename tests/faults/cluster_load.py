"""Put a cluster under load, and check all laws at the end.

Two `serve` processes use one database behind a round-robin. Accounts buy and subscribe through them
and directly at Stripe. A sender delivers the events in random order, some of them twice, each until
it is accepted.
"""

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from pymongo import MongoClient

from datalayer_stripe.plugin_api.registry import Registry
from datalayer_stripe.sandbox import Sandbox
from tests.faults import report
from tests.faults.cluster import Cluster, cluster
from tests.faults.consistency_checks import check_buyer, check_database
from tests.faults.webhook_sender import WebhookSender
from tests.faults.workload import BUYERS, Buyer, Workload
from tests.support.shop import WEBHOOK_ROUTE, Shop

# The load pauses above this many outstanding deliveries. With so many, each kill interrupts some.
_MAX_OUTSTANDING = 60


@dataclass
class LoadedCluster:
    """A cluster under load."""

    cluster: Cluster
    sender: WebhookSender
    sandbox: Sandbox
    rng: random.Random


@asynccontextmanager
async def cluster_under_load(
    variables: dict[str, str],
    folder: Path,
    sandbox: Sandbox,
    shop: Shop,
    rng: random.Random,
    bearer: Callable[..., str],
) -> AsyncIterator[LoadedCluster]:
    """Run a cluster under load, until the block ends.

    At the end everything is delivered, no job is left, and all laws are checked.
    """
    async with cluster(variables, folder) as running:
        sender = WebhookSender(sandbox, running.url + WEBHOOK_ROUTE, Registry.load().types, rng)
        buyers = [Buyer(name, running.url, bearer(name), sandbox, shop) for name in BUYERS]
        sender.start()
        stopped = asyncio.Event()

        async def has_more() -> bool:
            return await _wait_for_capacity(sender, stopped)

        tasks = [
            asyncio.create_task(work)
            for work in (
                _run_workload(Workload(sandbox, shop, rng), sender, stopped),
                *(buyer.buy_packages(has_more) for buyer in buyers),
            )
        ]
        try:
            yield LoadedCluster(running, sender, sandbox, rng)
            await running.wait_until_ready()
            stopped.set()
            await asyncio.gather(*tasks)
            sender.collect()
            await sender.idle()
            await _wait_for_deferred_work(variables["DATALAYER_STRIPE_MONGODB_URL"])
        finally:
            for one in tasks:
                one.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await sender.stop()
        assert all(served.running for served in running.services)
        assert running.unexpected_errors() == []
        figures = check_database(variables["DATALAYER_STRIPE_MONGODB_URL"], sandbox, shop)
        for buyer in buyers:
            check_buyer(sandbox, buyer.account, buyer.bought)
        report.count(
            "processes",
            deliveries=sender.outcomes.total(),
            deliveries_not_accepted=sender.outcomes.total() - sender.outcomes["accepted"],
            **figures,
        )
        report.maximum("processes", slowest_event_seconds=sender.slowest)


async def _wait_for_deferred_work(url: str) -> None:
    """Wait until no job is left: what has failed while Stripe was busy is retried after a pause."""
    with MongoClient(url) as client:
        jobs = client.get_default_database("datalayer_stripe").jobs
        while await asyncio.to_thread(jobs.count_documents, {}):  # noqa: ASYNC110 (others end them)
            await asyncio.sleep(0.2)


async def _wait_for_capacity(sender: WebhookSender, stopped: asyncio.Event) -> bool:
    """Wait until there are fewer outstanding deliveries; return whether the load goes on."""
    while sender.outstanding >= _MAX_OUTSTANDING and not stopped.is_set():  # noqa: ASYNC110 (one of two conditions)
        await asyncio.sleep(0.01)
    return not stopped.is_set()


async def _run_workload(workload: Workload, sender: WebhookSender, stopped: asyncio.Event) -> None:
    while await _wait_for_capacity(sender, stopped):
        workload.step()
        sender.collect()
        await asyncio.sleep(0)
