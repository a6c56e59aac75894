"""What the benchmarks share: a service on a MongoDB, deliveries for it, and a line a figure."""

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
from tests.support.mongod import Mongod, free_port, initiate, replica_set_url

BODY = (EVENTS / "payment_intent.succeeded.json").read_bytes()
SECRET = "whsec_example"
JWT_SECRET = "x" * 32
COLD, HOT = 200, 60  # deliveries at once, below what admission takes in all and of one account


def sign(body: bytes) -> str:
    """Return the `Stripe-Signature` header of a body, signed now."""
    return attempts.sign(body, [SECRET], int(time.time()))


def paid(number: int, account_uid: str) -> bytes:
    """A delivery of a payment of its own."""
    event = json.loads(BODY)
    event["id"] = f"evt_{account_uid}_{number}"
    intent = event["data"]["object"]
    intent |= {"id": f"pi_{account_uid}_{number}", "customer": None}
    intent["metadata"]["account_uid"] = account_uid
    return json.dumps(event).encode()


async def per_second(work: Callable[[], list[Awaitable[Any]]]) -> float:
    """How many of these are done in a second, all begun at once."""
    tasks = work()
    begun = time.perf_counter()
    await asyncio.gather(*tasks)
    return len(tasks) / (time.perf_counter() - begun)


def show(what: str, ours: float, other: float, unit: str, than: str) -> None:
    print(f"{what:<44} {ours:>9.1f} {unit:<4} {ours / other:>6.2f} x  {than} ({other:.1f})")


async def _measured(url: str, measure: Callable[[Service], Awaitable[None]]) -> None:
    environment = Environment(url, webhook_secret=SECRET, jwt_secret=JWT_SECRET)
    await environment.start()
    service = await environment.open_service()
    try:
        await measure(service)
    finally:
        await service.store._client.drop_database(service.store._database.name)
        await service.close()
        await environment.stop()


def on_a_mongod(measure: Callable[[Service], Awaitable[None]]) -> None:
    """Measure a service on a mongod of its own, or on DATALAYER_STRIPE_TEST_MONGODB_URL's."""
    configure_logging(level="WARNING")
    with ExitStack() as stack:
        url = os.environ.get("DATALAYER_STRIPE_TEST_MONGODB_URL")
        if url is None:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            mongod = Mongod(free_port(), folder, "rs0").start()
            stack.callback(mongod.kill)
            initiate([mongod])
            url = replica_set_url([mongod])
        asyncio.run(_measured(url.replace("/?", "/benchmark?"), measure))
