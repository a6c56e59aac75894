"""What a delivery costs, each figure beside the one that it is to be compared with.

    make bench

Ratios of one run on one machine; the absolute figures are this machine's alone.
"""

import time
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import stripe
from pydantic import SecretStr

from benchmarks.environment import (
    BODY,
    COLD,
    HOT,
    SECRET,
    on_a_mongod,
    paid,
    per_second,
    show,
    sign,
)
from datalayer_stripe.events import parse, verify
from datalayer_stripe.service import Service
from datalayer_stripe.store.group_commit import GroupCommitter


def microseconds(call: Callable[[], object], times: int = 3000) -> float:
    begun = time.perf_counter()
    for _ in range(times):
        call()
    return (time.perf_counter() - begun) / times * 1e6


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
        service.store._committer = grouped.transactions
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


async def measure(service: Service) -> None:
    await alone(service)
    await commits(service)


def main() -> None:
    reading()
    on_a_mongod(measure)


if __name__ == "__main__":
    main()
