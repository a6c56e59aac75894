"""The cache of prices: expiry, invalidation by events, and use while Stripe is down."""

import asyncio
from typing import Any

import pytest

from datalayer_stripe.billing.cached import FRESH_SECONDS, RETRY_SECONDS, STALE_SECONDS
from datalayer_stripe.sandbox import Sandbox
from datalayer_stripe.sandbox.delivery.webhooks import Webhooks
from datalayer_stripe.service import Service
from tests.support.app import Api, json_of
from tests.support.shop import (
    IAM_ROUTES,
    STRIPE_ROUTES,
    Buyer,
    Shop,
    calls,
    package,
    prices,
    set_product,
)

LIST = ("GET", "/v1/prices")


@pytest.mark.gen_test
async def test_concurrent_and_later_requests_share_cached_prices(
    api: Api, sandbox: Sandbox, shop: Shop
) -> None:
    await asyncio.gather(*(prices(api) for _ in range(10)))
    await prices(api)
    assert calls(sandbox, *LIST) == 1, "concurrent requests share one call"


@pytest.mark.gen_test
async def test_price_newer_than_cache_can_be_bought(
    buyer: Buyer, sandbox: Sandbox, shop: Shop, webhooks: Webhooks
) -> None:
    await buyer.subscribe()
    await prices(buyer.api)
    webhooks.hold()
    fresh = package(sandbox, shop, 700, credits=70)
    assert fresh not in {price["id"] for price in await prices(buyer.api)}
    answer = await buyer.ask_to_buy(fresh)
    assert (answer.code, json_of(answer)["credits"]) == (201, 70)


@pytest.mark.parametrize("change", ["price.created", "price.updated", "product.updated"])
@pytest.mark.gen_test
async def test_price_and_product_events_clear_cache(
    api: Api, sandbox: Sandbox, shop: Shop, webhooks: Webhooks, change: str
) -> None:
    before = await prices(api)
    if change == "price.created":
        package(sandbox, shop, credits=7)
    elif change == "price.updated":
        sandbox.update_price(shop.packages[0], nickname="Fresh")
    else:
        set_product(sandbox, shop.topup_product, name="Fresh")
    assert sandbox.events[-1]["type"] == change
    await webhooks.settle()
    assert await prices(api) != before


@pytest.mark.gen_test
async def test_response_requested_before_a_change_is_not_cached_after_it(
    api: Api, service: Service, sandbox: Sandbox, shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    list_prices, requested, may_answer = (
        service.stripe.list_prices,
        asyncio.Event(),
        asyncio.Event(),
    )

    async def list_slowly(*args: Any, **options: Any) -> list[dict[str, Any]]:
        result = await list_prices(*args, **options)
        requested.set()
        await may_answer.wait()
        return result

    monkeypatch.setattr(service.stripe, "list_prices", list_slowly)
    early = asyncio.create_task(prices(api))
    await requested.wait()
    sandbox.update_price(shop.packages[0], active=False)
    service.catalog.clear_cache()
    may_answer.set()
    assert len(await early) == 3
    assert len(await prices(api)) == 2


class Stopwatch:
    """Monotonic clock of the caches, which a test advances."""

    seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


@pytest.fixture
def stopwatch(service: Service, monkeypatch: pytest.MonkeyPatch) -> Stopwatch:
    stopwatch = Stopwatch()
    for cache in (service.catalog._packages, service.catalog._plans):
        monkeypatch.setattr(cache, "_monotonic", stopwatch)
    return stopwatch


@pytest.mark.gen_test
async def test_cache_expires_after_a_minute(
    api: Api, sandbox: Sandbox, shop: Shop, stopwatch: Stopwatch
) -> None:
    await prices(api)
    sandbox.update_price(shop.packages[0], active=False)
    stopwatch.seconds += FRESH_SECONDS - 1
    assert len(await prices(api)) == 3
    stopwatch.seconds += 1
    assert len(await prices(api)) == 2


@pytest.mark.parametrize("status", [429, 503])
@pytest.mark.gen_test
async def test_stale_prices_are_returned_while_stripe_is_down(
    api: Api,
    sandbox: Sandbox,
    shop: Shop,
    stopwatch: Stopwatch,
    quick_retries: None,
    status: int,
) -> None:
    before = await prices(api)
    sandbox.update_price(shop.packages[0], active=False)
    sandbox.api.refuse(status, times=100)
    stopwatch.seconds += FRESH_SECONDS
    assert await prices(api) == before
    call_count = calls(sandbox, *LIST)
    assert await prices(api) == before
    assert calls(sandbox, *LIST) == call_count, "no call for each request"
    sandbox.api.normal()
    stopwatch.seconds += RETRY_SECONDS
    assert len(await prices(api)) == 2


@pytest.mark.gen_test
async def test_prices_older_than_stale_limit_are_not_returned(
    api: Api, sandbox: Sandbox, shop: Shop, stopwatch: Stopwatch, quick_retries: None
) -> None:
    await prices(api)
    stopwatch.seconds += STALE_SECONDS + 1
    sandbox.api.refuse(503, times=3)
    assert (await api.get(f"{STRIPE_ROUTES}/topup/prices")).code == 503


@pytest.mark.parametrize("path", [f"{STRIPE_ROUTES}/topup/prices", f"{IAM_ROUTES}/plans/catalog"])
@pytest.mark.gen_test
async def test_empty_cache_is_503_while_stripe_is_down(
    api: Api, sandbox: Sandbox, shop: Shop, quick_retries: None, path: str
) -> None:
    sandbox.api.refuse(503, times=100)
    answer = await api.get(path)
    assert (answer.code, json_of(answer)["code"]) == (503, "stripe_unavailable")
    assert int(answer.headers["Retry-After"]) > 0
    sandbox.api.normal()
    assert (await api.get(path)).code == 200, "the failure is not cached"
