"""Work on many accounts: results in order, as soon as they are known; an error ends the rest."""

import asyncio

import pytest

from datalayer_stripe.errors import RateLimited, StripeUnavailable
from datalayer_stripe.provisioning.account_batches import run_all, with_retries
from datalayer_stripe.provisioning.customer_links import CustomerResult, Outcome


@pytest.mark.gen_test
async def test_results_are_reported_in_order_before_all_are_known() -> None:
    reported: list[str | None] = []
    first, last = asyncio.Event(), asyncio.Event()
    waits = {"a": first, "c": last}

    async def work(account: str) -> CustomerResult:
        if account in waits:
            await waits[account].wait()
        return CustomerResult(Outcome.ADDED, account)

    def report(result: CustomerResult) -> None:
        reported.append(result.account_uid)
        if result.account_uid == "b":
            last.set()

    first.set()
    async with asyncio.timeout(60):
        await run_all(["a", "b", "c"], work, report)
    assert reported == ["a", "b", "c"]


@pytest.mark.gen_test
async def test_error_ends_the_work_but_not_that_which_has_begun() -> None:
    reported: list[str | None] = []
    begun: list[int] = []
    failing = asyncio.Event()

    async def work(number: int) -> CustomerResult:
        begun.append(number)
        if number == 3:
            failing.set()
            raise StripeUnavailable
        await failing.wait()
        return CustomerResult(Outcome.ADDED, str(number))

    with pytest.raises(StripeUnavailable):
        await run_all(range(100), work, lambda result: reported.append(result.account_uid))
    assert begun == [0, 1, 2, 3]
    assert reported == ["0", "1", "2"]


@pytest.mark.gen_test
async def test_work_that_the_rate_limit_refuses_ends_after_some_attempts() -> None:
    waits: list[float] = []

    async def refused() -> None:
        raise RateLimited(retry_after=3)

    async def sleep(seconds: float) -> None:
        waits.append(seconds)

    with pytest.raises(RateLimited):
        await with_retries(refused, sleep)
    assert waits == [3, 3, 3, 3]
