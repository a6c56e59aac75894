"""Work on many accounts: in batches, some accounts at a time, with patience for the rate limit."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import TypeVar

from ..errors import RateLimited, RequestError
from .customer_links import CustomerResult

BATCH_SIZE = 200
"""The number of accounts that are read from the database together."""

_MAX_CONCURRENT_ACCOUNTS = 8

# A call that the rate limit refuses has waited for its permit before.
_MAX_ATTEMPTS = 5

T = TypeVar("T")
Sleep = Callable[[float], Awaitable[None]]
OnResult = Callable[[CustomerResult], None]


async def run_all(
    items: Sequence[T], work: Callable[[T], Awaitable[CustomerResult]], on_result: OnResult
) -> None:
    """Run the work for all items, some at a time, and report the results in order.

    Raises:
        RequestError: The work of an item has failed. The results of the others were reported.
    """
    slots = asyncio.Semaphore(_MAX_CONCURRENT_ACCOUNTS)
    failed = False

    async def run_one(item: T) -> CustomerResult | None:
        nonlocal failed
        async with slots:
            if failed:
                return None
            try:
                return await work(item)
            except RequestError:
                failed = True
                raise

    tasks = [asyncio.create_task(run_one(item)) for item in items]
    errors = []
    try:
        for task in tasks:
            try:
                result = await task
            except RequestError as error:
                errors.append(error)
            else:
                if result is not None:
                    on_result(result)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    if errors:
        raise errors[0]


async def with_retries(work: Callable[[], Awaitable[T]], sleep: Sleep) -> T:
    """Do the work, and repeat it while Stripe's rate limit refuses a call.

    Args:
        work: The work, which may be repeated.
        sleep: Waits for a number of seconds.

    Raises:
        RateLimited: The limit has refused it several times.
    """
    for _ in range(_MAX_ATTEMPTS - 1):
        try:
            return await work()
        except RateLimited as error:
            await sleep(error.retry_after or 1)
    return await work()


def batches(items: Sequence[T]) -> Iterator[Sequence[T]]:
    """Yield the items in batches."""
    for first in range(0, len(items), BATCH_SIZE):
        yield items[first : first + BATCH_SIZE]
