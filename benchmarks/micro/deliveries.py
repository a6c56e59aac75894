"""Measure deliveries, each value with a reference value.

Compare the ratios. The absolute values depend on the machine.
"""

import time
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any
from unittest.mock import patch

import stripe
from pydantic import SecretStr

from benchmarks.micro.environment import (
    BODY,
    DELIVERIES,
    DELIVERIES_OF_ONE_ACCOUNT,
    SECRET,
    measure_rate,
    payment_event,
    run_on_mongod,
    show,
    sign,
)
from datalayer_stripe.events import parse, verify
from datalayer_stripe.service import Service
from datalayer_stripe.store.group_commit import GroupCommitter


def time_call(call: Callable[[], object], times: int = 3000) -> float:
    """Return the mean time of a call in microseconds."""
    started_at = time.perf_counter()
    for _ in range(times):
        call()
    return (time.perf_counter() - started_at) / times * 1e6


def measure_parsing() -> None:
    """Measure the verification and parsing of a body."""
    signature, secrets = sign(BODY), [SecretStr(SECRET)]

    def verify_and_parse() -> None:
        verify(BODY, signature, secrets, time.time())
        parse(BODY)

    ours = time_call(verify_and_parse)
    sdk = time_call(
        lambda: stripe.Webhook.construct_event(BODY, signature, SECRET, api_key="sk_test_example")
    )
    show("verify and parse", ours, sdk, "µs", "the SDK's construct_event")


async def measure_commits(service: Service) -> None:
    """Measure concurrent deliveries with group commits, single transactions and duplicates."""
    receive = service.deliveries.receive
    grouped = service.store._committer
    assert isinstance(grouped, GroupCommitter)

    def deliveries(run: str, count: int, accounts: int) -> list[Awaitable[Any]]:
        bodies = [payment_event(number, f"{run}_{number % accounts}") for number in range(count)]
        return [receive(body, sign(body)) for body in bodies]

    cases = (
        (DELIVERIES_OF_ONE_ACCOUNT, 1, "one account"),
        (DELIVERIES, DELIVERIES, "different accounts"),
    )
    for count, accounts, name in cases:
        work = partial(deliveries, count=count, accounts=accounts)
        ours = await measure_rate(partial(work, f"grouped{accounts}"))
        with patch.object(grouped, "commit", grouped.transactions.commit):
            single = await measure_rate(partial(work, f"single{accounts}"))
        show(f"{count} concurrent, {name}", ours, single, "/s", "one transaction each")

    body = payment_event(0, "repeated")
    await receive(body, sign(body))
    again = await measure_rate(
        lambda: [receive(body, sign(body)) for _ in range(DELIVERIES_OF_ONE_ACCOUNT)]
    )
    database = service.store._database
    read = await measure_rate(
        lambda: [database.events.find_one({"_id": "x"}) for _ in range(DELIVERIES)]
    )
    show(
        f"{DELIVERIES_OF_ONE_ACCOUNT} concurrent duplicates", again, read, "/s", "one find_one each"
    )


async def measure_sequential(service: Service) -> None:
    """Measure sequential deliveries, compared with a transaction alone."""
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
        started_at = time.perf_counter()
        for number in range(count):
            await work(number)
        return (time.perf_counter() - started_at) / count * 1e3

    async def ours(number: int) -> None:
        body = payment_event(number, "alone")
        await service.deliveries.receive(body, sign(body))

    show("one delivery", await timed(ours), await timed(bare), "ms", "a transaction alone")


async def measure(service: Service) -> None:
    """Measure deliveries to a service."""
    await measure_sequential(service)
    await measure_commits(service)


def main() -> None:
    measure_parsing()
    run_on_mongod(measure)


if __name__ == "__main__":
    main()
