"""What a delivery costs, each figure beside the one that it is to be compared with.

    make bench

Ratios of one run on one machine; the absolute figures are this machine's alone. It starts its own
mongod as the tests do, or takes DATALAYER_STRIPE_TEST_MONGODB_URL.
"""

import asyncio
import hmac
import json
import os
import tempfile
import time
from collections.abc import Awaitable, Callable
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import stripe
from pydantic import SecretStr

from datalayer_stripe.events import parse, verify
from datalayer_stripe.logs import configure_logging
from datalayer_stripe.service import Service, open_service
from datalayer_stripe.settings import Settings
from datalayer_stripe.store.group import GroupCommitter
from tests.support.mongod import Mongod, free_port, initiate, replica_set_url

BODY = (Path(__file__).parents[1] / "tests/data/events/payment_intent.succeeded.json").read_bytes()
SECRET = "whsec_example"
COLD, HOT = 200, 60  # deliveries at once, below what admission takes in all and of one account


def sign(body: bytes) -> str:
    now = int(time.time())
    digest = hmac.new(SECRET.encode(), f"{now}.".encode() + body, "sha256").hexdigest()
    return f"t={now},v1={digest}"


def paid(number: int, account_uid: str) -> bytes:
    """A delivery of a payment of its own."""
    event = json.loads(BODY)
    event["id"] = f"evt_{account_uid}_{number}"
    intent = event["data"]["object"]
    intent |= {"id": f"pi_{account_uid}_{number}", "customer": None}
    intent["metadata"]["account_uid"] = account_uid
    return json.dumps(event).encode()


def microseconds(call: Callable[[], object], times: int = 3000) -> float:
    begun = time.perf_counter()
    for _ in range(times):
        call()
    return (time.perf_counter() - begun) / times * 1e6


async def per_second(work: Callable[[], list[Awaitable[Any]]]) -> float:
    """How many of these are done in a second, all begun at once."""
    tasks = work()
    begun = time.perf_counter()
    await asyncio.gather(*tasks)
    return len(tasks) / (time.perf_counter() - begun)


def show(what: str, ours: float, other: float, unit: str, than: str) -> None:
    print(f"{what:<44} {ours:>9.1f} {unit:<4} {ours / other:>6.2f} x  {than} ({other:.1f})")


def reading() -> None:
    signature, secrets = sign(BODY), [SecretStr(SECRET)]
    ours = microseconds(lambda: (verify(BODY, signature, secrets, time.time()), parse(BODY)))
    sdk = microseconds(
        lambda: stripe.Webhook.construct_event(BODY, signature, SECRET, api_key="sk_test_example")
    )
    show("verify and parse", ours, sdk, "µs", "of the SDK's construct_event")


async def commits(service: Service) -> None:
    receive = service.deliveries.receive
    grouped = service.store._committer
    assert isinstance(grouped, GroupCommitter)

    def deliveries(run: str, count: int, accounts: int) -> list[Awaitable[Any]]:
        bodies = [paid(number, f"{run}_{number % accounts}") for number in range(count)]
        return [receive(body, sign(body)) for body in bodies]

    for count, accounts, name in ((HOT, 1, "one hot account"), (COLD, COLD, "an account each")):
        work = partial(deliveries, count=count, accounts=accounts)
        ours = await per_second(partial(work, f"grouped{accounts}"))
        service.store._committer = grouped._transactions
        single = await per_second(partial(work, f"single{accounts}"))
        service.store._committer = grouped
        show(f"{count} at once, {name}", ours, single, "/s", "of a transaction each")

    body = paid(0, "repeated")
    await receive(body, sign(body))
    again = await per_second(lambda: [receive(body, sign(body)) for _ in range(HOT)])
    database = service.store._database
    read = await per_second(lambda: [database.events.find_one({"_id": "x"}) for _ in range(COLD)])
    show(f"{HOT} duplicates at once", again, read, "/s", "of one find_one each")


async def alone(service: Service) -> None:
    """One delivery after the other, beside the bare transaction that it cannot do without."""
    store, count = service.store, 100

    async def bare(number: int) -> None:
        async with await store._client.start_session() as mongo_session:
            mongo_session.start_transaction()
            for name in ("events", "ledger", "accounts"):
                await store._database[name].update_one(
                    {"_id": f"bare{number}"}, {"$inc": {"n": 1}}, upsert=True, session=mongo_session
                )
            await mongo_session.commit_transaction()

    async def timed(work: Callable[[int], Awaitable[Any]]) -> float:
        begun = time.perf_counter()
        for number in range(count):
            await work(number)
        return (time.perf_counter() - begun) / count * 1e3

    async def ours(number: int) -> None:
        body = paid(number, "alone")
        await service.deliveries.receive(body, sign(body))

    show("one delivery alone", await timed(ours), await timed(bare), "ms", "of a bare transaction")


async def measure(url: str) -> None:
    service = await open_service(
        Settings(
            stripe_api_key="sk_test_example",
            stripe_js_api_key="pk_test_example",
            stripe_topup_product_id="prod_topup",
            stripe_subscription_product_ids="prod_plan",
            stripe_webhook_secrets=SECRET,
            stripe_cust_portal_id="bpc_example",
            stripe_cust_portal_url="https://billing.example.com/",
            stripe_mongodb_url=url,
            jwt_secret="x" * 32,
        )
    )
    try:
        await alone(service)
        await commits(service)
    finally:
        await service.store._client.drop_database(service.store._database.name)
        await service.close()


def main() -> None:
    configure_logging(level="WARNING")
    reading()
    with ExitStack() as stack:
        url = os.environ.get("DATALAYER_STRIPE_TEST_MONGODB_URL")
        if url is None:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            mongod = Mongod(free_port(), folder, "rs0").start()
            stack.callback(mongod.kill)
            initiate([mongod])
            url = replica_set_url([mongod])
        asyncio.run(measure(url.replace("/?", "/benchmark?")))


if __name__ == "__main__":
    main()
