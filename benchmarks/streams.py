"""What it costs that people watch: from a delivery to the event of an open stream, and beside many.

make bench
"""

import asyncio
import statistics
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import aiohttp
import jwt

from benchmarks.environment import COLD, JWT_SECRET, on_a_mongod, paid, per_second, show, sign
from datalayer_stripe.app import Server, make_app
from datalayer_stripe.handlers.urls import STRIPE_PREFIX
from datalayer_stripe.service import Service

WATCHERS = 400
ROUNDS = 50


class Watched:
    """The HTTP side of a service, and streams of its accounts."""

    def __init__(self, url: str, session: aiohttp.ClientSession) -> None:
        self._url = url
        self._session = session

    async def stream(self, stack: AsyncExitStack, account_uid: str) -> aiohttp.StreamReader:
        """An open stream that has told how things stand."""
        answer = await stack.enter_async_context(
            self._session.get(f"{self._url}{STRIPE_PREFIX}/stream", headers=bearer(account_uid))
        )
        assert answer.status == 200
        for _ in range(3):  # retry, balance, plan
            await answer.content.readuntil(b"\n\n")
        return answer.content


def bearer(account_uid: str) -> dict[str, str]:
    claims = {"sub": account_uid, "iss": "https://id.datalayer.run", "exp": time.time() + 3600}
    return {"Authorization": f"Bearer {jwt.encode(claims, JWT_SECRET, algorithm='HS256')}"}


@asynccontextmanager
async def watched(service: Service) -> AsyncIterator[Watched]:
    server = Server(make_app(service), address="127.0.0.1", port=0)
    connector = aiohttp.TCPConnector(limit=0)
    try:
        async with aiohttp.ClientSession(connector=connector) as session:
            yield Watched(f"http://127.0.0.1:{server.port}", session)
    finally:
        await server.stop(seconds=2)


async def arrival(service: Service, http: Watched) -> None:
    """How long after a delivery's answer its balance is in the account's stream."""
    answers, arrivals = [], []
    async with AsyncExitStack() as stack:
        stream = await http.stream(stack, "watching")
        for number in range(ROUNDS):
            body = paid(number, "watching")
            begun = time.perf_counter()
            await service.deliveries.receive(body, sign(body))
            answers.append(time.perf_counter() - begun)
            await stream.readuntil(b"\n\n")
            arrivals.append(time.perf_counter() - begun)
    ours, other = (statistics.median(times) * 1e3 for times in (arrivals, answers))
    show("from a delivery to the stream, median", ours, other, "ms", "of the delivery's answer")


async def beside(service: Service, http: Watched) -> None:
    """Deliveries while many others watch, beside the same while nobody does."""

    async def deliveries(run: str) -> float:
        bodies = [paid(number, f"{run}_{number}") for number in range(COLD)]
        return await per_second(
            lambda: [service.deliveries.receive(body, sign(body)) for body in bodies]
        )

    await deliveries("warm")
    alone = await deliveries("alone")
    async with AsyncExitStack() as stack:
        await asyncio.gather(*(http.stream(stack, f"watcher{n}") for n in range(WATCHERS)))
        beside = await deliveries("beside")
    show(
        f"{COLD} deliveries beside {WATCHERS} streams", beside, alone, "/s", "of those beside none"
    )


async def measure(service: Service) -> None:
    async with watched(service) as http:
        await arrival(service, http)
        await beside(service, http)


if __name__ == "__main__":
    on_a_mongod(measure)
