"""The service's own calls to Stripe are spread over time, and refused rather than late."""

import asyncio
from collections import Counter
from collections.abc import Awaitable
from typing import Any

import pytest
import stripe

from datalayer_stripe.errors import RateLimited, StoreUnavailable
from datalayer_stripe.metrics import Metrics
from datalayer_stripe.sandbox import Sandbox
from datalayer_stripe.service import Service
from datalayer_stripe.store import Store
from datalayer_stripe.stripe_api.client import StripeClient
from datalayer_stripe.stripe_api.permits import CallRates, LocalPermits, PermitSource
from datalayer_stripe.stripe_api.rate_limit import CallLimiter, own_calls
from tests.support.shop import Shop
from tests.support.virtual_time import VirtualTime

RATES = CallRates(total=40, operation=10)


@pytest.fixture
def time() -> VirtualTime:
    return VirtualTime()


def limiter_of(time: VirtualTime, shared: PermitSource | None = None) -> CallLimiter:
    return CallLimiter(RATES, shared=shared, monotonic=time.monotonic, sleep=time.sleep)


async def finish(time: VirtualTime, work: list[Awaitable[Any]]) -> list[Any]:
    """Await all, moving the clock on whenever nothing else happens."""
    gathered = asyncio.gather(*work, return_exceptions=True)
    while not gathered.done():
        for _ in range(20):
            await asyncio.sleep(0)
        time.advance()
    return list(await gathered)


async def call(
    limiter: CallLimiter, time: VirtualTime, operation: str = "x", max_wait: float = 1.0
) -> float:
    """Return when the call may start."""
    with own_calls(max_wait):
        await limiter.wait(operation)
    return time.now


def assert_spread(times: list[float], rate: float) -> None:
    """Assert that no second has more than `rate` of the times, wherever it begins."""
    for start in times:
        assert sum(start <= one < start + 1 - 1e-6 for one in times) <= rate


def test_rates_follow_the_mode_and_leave_a_share_to_people() -> None:
    assert CallRates.allowed_by(25, livemode=False) == CallRates(total=20, operation=20)
    assert CallRates.allowed_by(25, livemode=True) == CallRates(total=80, operation=20)


@pytest.mark.gen_test
async def test_calls_of_one_operation_are_spread_and_the_late_ones_are_refused(
    time: VirtualTime,
) -> None:
    limiter = limiter_of(time)
    results = await finish(time, [call(limiter, time) for _ in range(100)])
    started = [one for one in results if isinstance(one, float)]
    refused = [one for one in results if isinstance(one, RateLimited)]
    assert started == pytest.approx([n / 10 for n in range(11)])
    assert len(refused) == 89
    assert_spread(started, RATES.operation)
    # The refused calls are told different times, so that they do not all come back at once.
    waits = Counter(one.retry_after for one in refused)
    assert max(waits.values()) <= RATES.operation
    assert min(waits) == 2


@pytest.mark.gen_test
async def test_all_operations_together_have_a_rate_of_their_own(time: VirtualTime) -> None:
    limiter = limiter_of(time)
    names = [f"operation {number % 8}" for number in range(80)]
    results = await finish(time, [call(limiter, time, name, 60) for name in names])
    assert all(isinstance(one, float) for one in results)
    assert max(results) >= 80 / RATES.total - 0.1
    for name in set(names):
        own = [at for at, of in zip(results, names, strict=True) if of == name]
        assert_spread(own, RATES.operation)
    assert_spread(results, RATES.total * 1.25)


@pytest.mark.gen_test
async def test_calls_of_people_need_no_permit(time: VirtualTime) -> None:
    limiter = limiter_of(time)
    await finish(time, [call(limiter, time) for _ in range(100)])
    for _ in range(100):
        await limiter.wait("x")


class CountingPermits(LocalPermits):
    """A source that counts the leases, and that may be unavailable."""

    def __init__(self, time: VirtualTime) -> None:
        super().__init__(time.monotonic)
        self.leases = 0
        self.is_down = False

    async def lease(self, operation: str, number: int, **limits: float) -> tuple[int, float]:
        self.leases += 1
        await asyncio.sleep(0)
        if self.is_down:
            raise StoreUnavailable
        return await super().lease(operation, number, **limits)


@pytest.mark.gen_test
async def test_concurrent_calls_lease_their_permits_together(time: VirtualTime) -> None:
    permits = CountingPermits(time)
    limiter = limiter_of(time, permits)
    assert permits.leases == 0, "without calls nothing is asked"
    await finish(time, [call(limiter, time) for _ in range(100)])
    assert permits.leases == 1


@pytest.mark.gen_test
async def test_without_the_database_the_rate_is_lower(
    time: VirtualTime, caplog: pytest.LogCaptureFixture
) -> None:
    permits = CountingPermits(time)
    permits.is_down = True
    limiter = limiter_of(time, permits)
    results = await finish(time, [call(limiter, time) for _ in range(20)])
    started = [one for one in results if isinstance(one, float)]
    assert started == pytest.approx([0, 0.4, 0.8]), "a quarter of the rate"
    await finish(time, [call(limiter, time)])
    assert [one.levelname for one in caplog.records] == ["WARNING"], "logged once"
    permits.is_down = False
    time.now += 60
    assert len({*await finish(time, [call(limiter, time) for _ in range(10)])}) == 10


@pytest.mark.gen_test
async def test_cancelled_caller_does_not_disturb_the_others(time: VirtualTime) -> None:
    limiter = limiter_of(time)
    tasks = [asyncio.create_task(call(limiter, time)) for _ in range(3)]
    await asyncio.sleep(0)
    tasks[0].cancel()
    results = await finish(time, [*tasks])
    assert isinstance(results[0], asyncio.CancelledError)
    assert results[1:] == pytest.approx([0.1, 0.2])


@pytest.mark.parametrize("error", [asyncio.CancelledError, ValueError])
@pytest.mark.gen_test
async def test_source_that_fails_leaves_no_caller_waiting(
    time: VirtualTime, error: type[BaseException]
) -> None:
    class Broken(LocalPermits):
        async def lease(self, operation: str, number: int, **limits: float) -> tuple[int, float]:
            raise error

    limiter = limiter_of(time, Broken(time.monotonic))
    for _ in range(2):
        results = await finish(time, [call(limiter, time) for _ in range(3)])
        assert [type(one) for one in results] == [error] * 3


@pytest.mark.gen_test
async def test_own_calls_pause_after_stripe_has_refused_one(time: VirtualTime) -> None:
    limiter = limiter_of(time)
    limiter.back_off(7)
    [refused] = await finish(time, [call(limiter, time)])
    assert isinstance(refused, RateLimited)
    assert refused.retry_after == 7
    assert await finish(time, [call(limiter, time, max_wait=10)]) == [7]
    for expected in (2, 4, 8, 16, 30, 30):  # without Retry-After the pauses grow
        time.now += 100
        limiter.back_off(None)
        limiter.back_off(None)  # refused together with the first
        before = time.now
        [started] = await finish(time, [call(limiter, time, max_wait=60)])
        assert started - before == pytest.approx(expected)
    limiter.recover()
    time.now += 100
    before = time.now
    limiter.back_off(None)
    [started] = await finish(time, [call(limiter, time, max_wait=60)])
    assert started - before == pytest.approx(1)


@pytest.mark.gen_test
async def test_call_of_a_plugin_in_a_reconciliation_waits_no_longer_than_in_a_delivery(
    time: VirtualTime,
) -> None:
    limiter = limiter_of(time)
    limiter.back_off(7)
    with own_calls(30):
        [refused] = await finish(time, [call(limiter, time, max_wait=1)])
        assert isinstance(refused, RateLimited)
        assert time.now < 7
        assert await finish(time, [limiter.wait("x")]) == [None]
    assert time.now == 7


@pytest.mark.mongod
@pytest.mark.gen_test
async def test_processes_share_the_permits_of_the_database(service: Service) -> None:
    store = service.store
    limits = {"max_wait": 10.0, "interval": 0.1, "total": 0.025}
    leased = await asyncio.gather(
        *(store.stripe_permits.lease("a.b", 20, **limits) for _ in "12345")
    )
    assert sum(number for number, _ in leased) in (100, 101)
    first, *later = sorted(delay for _, delay in leased)
    assert 0 <= first < 0.05
    # Each lease begins where the one before it ends, less the time that has passed since.
    assert [round(delay / 2) for delay in later] == [1, 2, 3, 4]
    number, delay = await store.stripe_permits.lease("a.b", 5, **limits)
    assert number <= 1
    assert delay > 9
    number, delay = await store.stripe_permits.lease("c.d", 4, **limits)
    assert number == 4
    assert 1 < delay <= 101 * 0.025, "the permits of all operations together"


@pytest.mark.mongod
@pytest.mark.gen_test
async def test_permits_that_a_wrong_clock_has_moved_far_ahead_are_ignored(
    service: Service,
) -> None:
    store: Store = service.store
    database: Any = store._database
    far = 4e12  # the year 2096, in milliseconds
    await database.service.insert_one(
        {"_id": "stripe-permits", "next": far, "operations": {"a_b": far}}
    )
    assert await store.stripe_permits.lease("a.b", 3, max_wait=1.0, interval=0.1, total=0.1) == (
        3,
        0.0,
    )


@pytest.mark.gen_test
async def test_client_asks_for_a_permit_per_page_and_passes_on_a_refusal(
    sandbox: Sandbox, shop: Shop, time: VirtualTime
) -> None:
    for amount in range(100, 205):
        sandbox.create_price(product=shop.topup_product, unit_amount=amount, credits=1)
    limiter = limiter_of(time)
    client = StripeClient(
        sandbox.secret_key, metrics=Metrics(), api_base=sandbox.url, limiter=limiter
    )
    with own_calls(0.15):
        [listed] = await finish(time, [client.list_prices(shop.topup_product, recurring=False)])
        assert len(listed) == 108
        assert time.now == pytest.approx(0.1), "the second page"
        results = await finish(time, [client.retrieve_price(shop.plan) for _ in range(3)])
    assert [type(one) for one in results] == [dict, dict, RateLimited]
    assert (await client.retrieve_price(shop.plan))["id"] == shop.plan, "as for a person"
    await client.close()


@pytest.mark.parametrize(("code", "paused"), [("rate_limit", True), ("lock_timeout", False)])
@pytest.mark.gen_test
async def test_answer_429_pauses_own_calls_unless_it_is_about_one_object(
    time: VirtualTime, code: str, paused: bool
) -> None:
    limiter = limiter_of(time)
    client = StripeClient("sk_test_example", metrics=Metrics(), limiter=limiter)

    async def refused() -> stripe.StripeObject:
        raise stripe.RateLimitError("slow", code=code, headers={"retry-after": "7"})

    with pytest.raises(RateLimited) as error:
        await client.transport.call("x", refused())
    assert error.value.retry_after == 7
    [result] = await finish(time, [call(limiter, time)])
    assert isinstance(result, RateLimited) is paused
    await client.close()
