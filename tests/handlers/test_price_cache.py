"""Prices are cached for a short time, dropped when they change, and shown while Stripe is down."""

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
async def test_prices_are_cached(api: Api, sandbox: Sandbox, shop: Shop) -> None:
    await asyncio.gather(*(prices(api) for _ in range(10)))
    await prices(api)
    assert calls(sandbox, *LIST) == 1, "one request asks for all who wait"


@pytest.mark.gen_test
async def test_a_price_newer_than_the_cache_can_be_bought(
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
async def test_the_cache_is_dropped_when_stripe_tells_of_a_change(
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
async def test_what_was_asked_before_a_change_does_not_outlive_it(
    api: Api, service: Service, sandbox: Sandbox, shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    listed, asked, may_answer = service.stripe.list_prices, asyncio.Event(), asyncio.Event()

    async def slow(*args: Any, **options: Any) -> list[dict[str, Any]]:
        seen = await listed(*args, **options)
        asked.set()
        await may_answer.wait()
        return seen

    monkeypatch.setattr(service.stripe, "list_prices", slow)
    early = asyncio.create_task(prices(api))
    await asked.wait()
    sandbox.update_price(shop.packages[0], active=False)
    service.catalog.forget()
    may_answer.set()
    assert len(await early) == 3
    assert len(await prices(api)) == 2


class Stopwatch:
    """The seconds that caches count by, which a test moves."""

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
async def test_the_cache_lasts_a_minute(
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
async def test_stripe_is_down_and_prices_are_still_listed(
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
    asked = calls(sandbox, *LIST)
    assert await prices(api) == before
    assert calls(sandbox, *LIST) == asked, "not every request asks while Stripe is down"
    sandbox.api.normal()
    stopwatch.seconds += RETRY_SECONDS
    assert len(await prices(api)) == 2


@pytest.mark.gen_test
async def test_prices_of_long_ago_are_not_shown(
    api: Api, sandbox: Sandbox, shop: Shop, stopwatch: Stopwatch, quick_retries: None
) -> None:
    await prices(api)
    stopwatch.seconds += STALE_SECONDS + 1
    sandbox.api.refuse(503, times=3)
    assert (await api.get(f"{STRIPE_ROUTES}/topup/prices")).code == 503


@pytest.mark.parametrize("path", [f"{STRIPE_ROUTES}/topup/prices", f"{IAM_ROUTES}/plans/catalog"])
@pytest.mark.gen_test
async def test_stripe_is_down_before_anything_is_known(
    api: Api, sandbox: Sandbox, shop: Shop, quick_retries: None, path: str
) -> None:
    sandbox.api.refuse(503, times=100)
    answer = await api.get(path)
    assert (answer.code, json_of(answer)["code"]) == (503, "stripe_unavailable")
    assert int(answer.headers["Retry-After"]) > 0
    sandbox.api.normal()
    assert (await api.get(path)).code == 200, "and is asked again by the next request"
