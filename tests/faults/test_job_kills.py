"""A process dies with deferred work in its hands: another one finishes it, once."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest
from pymongo import MongoClient

from datalayer_stripe.sandbox import Sandbox
from tests.faults import report
from tests.faults.cluster import cluster, environment, until
from tests.support.app import Api, changed, recorded
from tests.support.shop import Shop

pytestmark = pytest.mark.faults

EVENTS = 8

# Hangs the first time that it sees an event, and says which process it hangs in.
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
async def test_work_of_a_killed_process_is_finished_by_another(
    mongodb_url: str, sandbox: Sandbox, shop: Shop, bearer: Callable[..., str], tmp_path: Path
) -> None:
    (tmp_path / "slow.py").write_text(FILE, encoding="utf-8")
    variables = {
        **environment(mongodb_url, sandbox, shop),
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

        await until(hangs, "no job came to the first process")
        await victim.kill()
        api.url = survivor.url
        with MongoClient(mongodb_url, tz_aware=True) as client:
            database = client.get_default_database()
            held = database.jobs.count_documents({"holder": {"$exists": True}})

            async def all_done() -> bool:
                return database.jobs.estimated_document_count() == 0

            await until(all_done, "the work of the killed process is left undone")
            rows = {row["_id"]: row["n"] for row in database["plugin_slow"].find()}
            events = list(database.events.find())
        assert rows == {f"evt_{n}": 1 for n in range(EVENTS)}
        assert {event["handlers"]["slow"]["status"] for event in events} == {"done"}
        assert not any("payload" in event for event in events)
        assert await api.credits() == 50
        assert await survivor.metric("datalayer_stripe_jobs_total", outcome="processed") == EVENTS
        api.http.close()
    report.count("deferred work", jobs=EVENTS, held_at_the_kill=held, kills_of_serve=1)
