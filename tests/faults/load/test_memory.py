"""The memory of a process stays constant while it refuses deliveries."""

import asyncio
import os
import sys
from collections import Counter
from pathlib import Path

import pytest

from datalayer_stripe.sandbox import Sandbox
from tests.faults import report
from tests.faults.cluster import cluster, environment_variables
from tests.faults.load.hanging_plugin import payment
from tests.support.app import Api
from tests.support.shop import Shop

ROUNDS = 12
DELIVERIES_OF_ROUND = 200
PADDING = 20_000
# A leak of the bodies would be ROUNDS * DELIVERIES_OF_ROUND * PADDING = 48 MB.
MAX_GROWTH = 24 * 1024 * 1024

pytestmark = [
    pytest.mark.mongod,
    pytest.mark.faults,
    pytest.mark.skipif(sys.platform != "linux", reason="reads the memory use from /proc"),
]


def resident_bytes(pid: int) -> int:
    """Return the resident memory of a process; see statm in proc(5)."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.gen_test
async def test_memory_stays_constant_under_too_many_deliveries(
    mongodb_url: str, sandbox: Sandbox, shop: Shop, api: Api, tmp_path: Path
) -> None:
    codes: Counter[int] = Counter()
    variables = environment_variables(mongodb_url, sandbox, shop)
    variables["DATALAYER_STRIPE_MAX_DELIVERIES"] = "256"
    async with cluster(variables, tmp_path, size=1) as running:
        api.url = running.url
        [served] = running.services

        async def burst(number: int) -> None:
            """Send concurrent deliveries of one account, more than it has slots for."""
            first = number * DELIVERIES_OF_ROUND
            bodies = [payment("hot", first + n, PADDING) for n in range(DELIVERIES_OF_ROUND)]
            answers = await asyncio.gather(*(api.deliver(body) for body in bodies))
            codes.update(answer.code for answer in answers)

        for number in range(4):  # fills caches and connection pools
            await burst(number)
        before = resident_bytes(served.pid)
        for number in range(4, 4 + ROUNDS):
            await burst(number)
        growth = resident_bytes(served.pid) - before
        assert await served.metric("datalayer_stripe_deliveries_in_flight") == 0
        assert await served.metric("datalayer_stripe_deliveries_total", outcome="overloaded")
        assert running.unexpected_errors() == []
    assert set(codes) == {200, 503}
    assert growth < MAX_GROWTH, f"{growth / 2**20:.1f} MB more"
    report.count("load", deliveries=codes.total(), refused=codes[503])
    report.maximum("load", megabytes_grown=growth / 2**20)
