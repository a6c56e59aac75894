"""A process is killed while it runs deferred jobs: another one finishes them, once."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest
from pymongo import MongoClient

from datalayer_stripe.sandbox import Sandbox
from tests.faults import report
from tests.faults.cluster import cluster, environment_variables, wait_until
from tests.support.app import Api, changed, recorded
from tests.support.shop import Shop

pytestmark = pytest.mark.faults

EVENTS = 8

# Hangs on the first run of each event, and writes the id of its process to a file.
FILE = """
import asyncio, os
from pathlib import Path

from datalayer_stripe import Context, Event, Plugin

plugin = Plugin("slow")
HERE = Path(__file__).parent


@plugin.on("payment_intent.succeeded", deferred=True, timeout=5)
async def hang_first(event: Event, ctx: Context) -> None:
    ctx.collection.update_one({"_id": event.id}, {"$inc": {"n": 1}}, upsert=True)
    first = HERE / f"{event.id}.pid"
    if not first.exists():
        first.write_text(str(os.getpid()))
        await asyncio.sleep(60)
"""


def _pids(folder: Path) -> set[int]:
    texts = [path.read_text(encoding="utf-8") for path in folder.glob("*.pid")]
    return {int(text) for text in texts if text}


@pytest.mark.gen_test
async def test_jobs_of_killed_process_are_finished_by_another_process(
    mongodb_url: str, sandbox: Sandbox, shop: Shop, bearer: Callable[..., str], tmp_path: Path
) -> None:
    (tmp_path / "slow.py").write_text(FILE, encoding="utf-8")
    variables = {
        **environment_variables(mongodb_url, sandbox, shop),
        "DATALAYER_STRIPE_PLUGINS_DIR": str(tmp_path),
    }
    async with cluster(variables, tmp_path) as running:
        api = Api(0, None, bearer)  # type: ignore[arg-type] # the service is in other processes
        api.url = running.url
        bodies = [
            changed(recorded("payment_intent.succeeded"), id=f"evt_{n}") for n in range(EVENTS)
        ]
        answers = await asyncio.gather(*(api.deliver(body) for body in bodies))
        assert {answer.code for answer in answers} == {200}
        victim, survivor = running.services

        async def hangs() -> bool:
            return victim.pid in _pids(tmp_path)

        await wait_until(hangs, "the first process got no job")
        await victim.kill()
        api.url = survivor.url
        with MongoClient(mongodb_url, tz_aware=True) as client:
            database = client.get_default_database()
            leased = database.jobs.count_documents({"holder": {"$exists": True}})

            async def all_done() -> bool:
                return database.jobs.estimated_document_count() == 0

            await wait_until(all_done, "the jobs of the killed process are not finished")
            rows = {row["_id"]: row["n"] for row in database["plugin_slow"].find()}
            events = list(database.events.find())
        assert rows == {f"evt_{n}": 1 for n in range(EVENTS)}
        assert {event["handlers"]["slow"]["status"] for event in events} == {"done"}
        assert not any("payload" in event for event in events)
        assert await api.credits() == 50

        async def all_counted() -> bool:
            name = "datalayer_stripe_jobs_total"
            return await survivor.metric(name, outcome="processed") == EVENTS

        await wait_until(all_counted, "not each job is counted once")
        api.http.close()
    report.count("deferred work", jobs=EVENTS, leased_at_the_kill=leased, kills_of_serve=1)
