"""Environment of the benchmarks: a service on MongoDB, deliveries for it, and the output."""

import asyncio
import json
import os
import tempfile
import time
from collections.abc import Awaitable, Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from datalayer_stripe.logs import configure_logging
from datalayer_stripe.sandbox.delivery import attempts
from datalayer_stripe.service import Service
from datalayer_stripe.testing.environment import Environment
from datalayer_stripe.testing.recordings import EVENTS
from tests.support.mongod import Mongod, initiate, replica_set_url
from tests.support.ports import free_port

BODY = (EVENTS / "payment_intent.succeeded.json").read_bytes()
SECRET = "whsec_example"
JWT_SECRET = "x" * 32
DELIVERIES = 200
"""Number of concurrent deliveries for different accounts, below the limit of the service."""
DELIVERIES_OF_ONE_ACCOUNT = 60
"""Number of concurrent deliveries for one account, below the limit of one account."""


def sign(body: bytes) -> str:
    """Return the `Stripe-Signature` header of a body, signed now."""
    return attempts.sign(body, [SECRET], int(time.time()))


def payment_event(number: int, account_uid: str) -> bytes:
    """Return the body of a delivery of a new payment."""
    event = json.loads(BODY)
    event["id"] = f"evt_{account_uid}_{number}"
    intent = event["data"]["object"]
    intent |= {"id": f"pi_{account_uid}_{number}", "customer": None}
    intent["metadata"]["account_uid"] = account_uid
    return json.dumps(event).encode()


async def measure_rate(create: Callable[[], list[Awaitable[Any]]]) -> float:
    """Run awaitables concurrently and return how many complete per second."""
    tasks = create()
    started_at = time.perf_counter()
    await asyncio.gather(*tasks)
    return len(tasks) / (time.perf_counter() - started_at)


def show(what: str, value: float, reference: float, unit: str, reference_name: str) -> None:
    """Print a measured value and its ratio to a reference value."""
    ratio = value / reference
    print(f"{what:<44} {value:>9.1f} {unit:<4} {ratio:>6.2f} x  {reference_name} ({reference:.1f})")


async def _run(url: str, measure: Callable[[Service], Awaitable[None]]) -> None:
    environment = Environment(url, webhook_secret=SECRET, jwt_secret=JWT_SECRET)
    await environment.start()
    service = await environment.open_service()
    try:
        await measure(service)
    finally:
        await service.store._client.drop_database(service.store._database.name)
        await service.close()
        await environment.stop()


def run_on_mongod(measure: Callable[[Service], Awaitable[None]]) -> None:
    """Run a benchmark on a new mongod, or on the one of DATALAYER_STRIPE_TEST_MONGODB_URL."""
    configure_logging(level="WARNING")
    with ExitStack() as stack:
        url = os.environ.get("DATALAYER_STRIPE_TEST_MONGODB_URL")
        if url is None:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            mongod = Mongod(free_port(), folder, "rs0").start()
            stack.callback(mongod.kill)
            initiate([mongod])
            url = replica_set_url([mongod])
        asyncio.run(_run(url.replace("/?", "/benchmark?"), measure))
