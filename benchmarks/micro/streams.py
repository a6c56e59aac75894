"""Measure event streams: their latency, and deliveries while many are open."""

import asyncio
import statistics
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import aiohttp
import jwt

from benchmarks.micro.environment import (
    DELIVERIES,
    JWT_SECRET,
    measure_rate,
    payment_event,
    run_on_mongod,
    show,
    sign,
)
from datalayer_stripe.app import Server, listen, make_app
from datalayer_stripe.handlers.urls import STRIPE_PREFIX
from datalayer_stripe.service import Service

STREAMS = 400
ROUNDS = 50


class StreamClient:
    """HTTP client that opens streams of accounts."""

    def __init__(self, url: str, session: aiohttp.ClientSession) -> None:
        self._url = url
        self._session = session

    async def stream(self, stack: AsyncExitStack, account_uid: str) -> aiohttp.StreamReader:
        """Open a stream and read its initial events."""
        answer = await stack.enter_async_context(
            self._session.get(f"{self._url}{STRIPE_PREFIX}/stream", headers=bearer(account_uid))
        )
        assert answer.status == 200
        for _ in range(3):  # retry, balance, plan
            await answer.content.readuntil(b"\n\n")
        return answer.content


def bearer(account_uid: str) -> dict[str, str]:
    """Return the headers that authenticate an account."""
    claims = {"sub": account_uid, "iss": "https://id.datalayer.run", "exp": time.time() + 3600}
    return {"Authorization": f"Bearer {jwt.encode(claims, JWT_SECRET, algorithm='HS256')}"}


@asynccontextmanager
async def serve(service: Service) -> AsyncIterator[StreamClient]:
    """Serve a service over HTTP."""
    server = Server(make_app(service), listen("127.0.0.1", 0))
    connector = aiohttp.TCPConnector(limit=0)
    try:
        async with aiohttp.ClientSession(connector=connector) as session:
            yield StreamClient(f"http://127.0.0.1:{server.port}", session)
    finally:
        await server.stop(seconds=2)


async def measure_latency(service: Service, http: StreamClient) -> None:
    """Measure the time from a delivery to the balance event in the account's stream."""
    answers, arrivals = [], []
    async with AsyncExitStack() as stack:
        stream = await http.stream(stack, "subscriber")
        for number in range(ROUNDS):
            body = payment_event(number, "subscriber")
            started_at = time.perf_counter()
            await service.deliveries.receive(body, sign(body))
            answers.append(time.perf_counter() - started_at)
            await stream.readuntil(b"\n\n")
            arrivals.append(time.perf_counter() - started_at)
    ours, other = (statistics.median(times) * 1e3 for times in (arrivals, answers))
    show("from a delivery to the stream, median", ours, other, "ms", "the delivery's response")


async def measure_deliveries(service: Service, http: StreamClient) -> None:
    """Measure deliveries while many streams are open, compared with none."""

    async def deliveries(run: str) -> float:
        bodies = [payment_event(number, f"{run}_{number}") for number in range(DELIVERIES)]
        return await measure_rate(
            lambda: [service.deliveries.receive(body, sign(body)) for body in bodies]
        )

    await deliveries("warm")
    alone = await deliveries("alone")
    async with AsyncExitStack() as stack:
        await asyncio.gather(*(http.stream(stack, f"subscriber{n}") for n in range(STREAMS)))
        with_streams = await deliveries("with_streams")
    show(
        f"{DELIVERIES} deliveries, {STREAMS} open streams",
        with_streams,
        alone,
        "/s",
        "without streams",
    )


async def measure(service: Service) -> None:
    """Measure the streams of a service."""
    async with serve(service) as http:
        await measure_latency(service, http)
        await measure_deliveries(service, http)


if __name__ == "__main__":
    run_on_mongod(measure)
