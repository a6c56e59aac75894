"""What is for sale: as Stripe's prices say, soon after they say it, also while Stripe is down."""

import asyncio
from typing import Any

import pytest

from datalayer_stripe.billing.cached import FRESH_SECONDS, RETRY_SECONDS, STALE_SECONDS
from datalayer_stripe.models import MAX_CREDITS
from datalayer_stripe.sandbox import Sandbox
from datalayer_stripe.sandbox.webhooks import Webhooks
from datalayer_stripe.service import Service
from tests.support.app import Api, json_of
from tests.support.shop import IAM_ROUTES, STRIPE_ROUTES, Buyer, Shop, calls

LIST = ("GET", "/v1/prices")
MONTHLY = {"interval": "month"}


async def prices(api: Api) -> list[dict[str, Any]]:
    answer = await api.get(f"{STRIPE_ROUTES}/topup/prices")
    assert answer.code == 200
    return list(json_of(answer)["prices"])


async def plans(api: Api) -> list[dict[str, Any]]:
    answer = await api.get(f"{IAM_ROUTES}/subscription/plans")
    assert answer.code == 200
    return list(json_of(answer)["plans"])


def package(sandbox: Sandbox, shop: Shop, unit_amount: int = 100, **params: Any) -> str:
    params = {"product": shop.topup_product, "currency": "usd", **params}
    return str(sandbox.create_price(unit_amount=unit_amount, **params)["id"])


def set_product(sandbox: Sandbox, product_id: str, **params: Any) -> None:
    sandbox.call("POST", f"/v1/products/{product_id}", **params)


@pytest.mark.gen_test(timeout=30)
async def test_packages_come_cheapest_first(api: Api, sandbox: Sandbox, shop: Shop) -> None:
    cheapest = package(sandbox, shop, 100, credits=9, nickname="Small")
    dearest = package(sandbox, shop, 90_000, credits=12_000)
    listed = await prices(api)
    assert [price["id"] for price in listed] == [cheapest, *shop.packages, dearest]
    assert [price["amount"] for price in listed] == [100, 500, 2000, 5000, 90_000]
    assert all(price["unit_amount"] == price["amount"] for price in listed)
    assert [price["credits"] for price in listed] == [9, 50, 220, 600, 12_000]
    assert [price["name"] for price in listed[:2]] == ["Small", "Credits"]
    assert [price["default"] for price in listed] == [True, False, False, False, False]


@pytest.mark.parametrize(("default", "shown"), [(2, 2), ("inactive", 0), ("foreign", 0)])
@pytest.mark.gen_test(timeout=30)
async def test_exactly_one_package_is_the_default(
    api: Api, sandbox: Sandbox, shop: Shop, default: int | str, shown: int
) -> None:
    preferred = shop.packages[default] if isinstance(default, int) else package(sandbox, shop)
    if default == "inactive":
        sandbox.update_price(preferred, active=False)
    elif default == "foreign":
        preferred = package(sandbox, shop, 100, credits=1, product=shop.other_product)
    set_product(sandbox, shop.topup_product, default_price=preferred)
    chosen = [price["id"] for price in await prices(api) if price["default"]]
    assert chosen == [shop.packages[shown]]


@pytest.mark.parametrize(
    ("says", "credits"),
    [
        ({"credits": 70}, 70),
        ({"credits": 70, "metadata": {"credits": "80"}}, 70),
        ({"metadata": {"credits": "80"}}, 80),
        ({"credits": MAX_CREDITS}, MAX_CREDITS),
    ],
)
@pytest.mark.gen_test(timeout=30)
async def test_the_price_says_its_credits(
    api: Api, sandbox: Sandbox, shop: Shop, says: dict[str, Any], credits: int
) -> None:
    made = package(sandbox, shop, **says)
    assert (made, credits) in {(price["id"], price["credits"]) for price in await prices(api)}


@pytest.mark.parametrize(
    "says",
    [
        {},
        {"metadata": {"credits": "many"}},
        {"metadata": {"credits": "0"}},
        {"metadata": {"credits": "1_000"}},
        {"credits": MAX_CREDITS + 1},
        {"credits": 5, "unit_amount": 0},
    ],
)
@pytest.mark.gen_test(timeout=30)
async def test_a_price_that_cannot_be_sold_is_left_out_and_logged(
    buyer: Buyer,
    sandbox: Sandbox,
    shop: Shop,
    webhooks: Webhooks,
    caplog: pytest.LogCaptureFixture,
    says: dict[str, Any],
) -> None:
    made = package(sandbox, shop, **says)
    assert [price["id"] for price in await prices(buyer.api)] == shop.packages
    assert made in caplog.text
    await buyer.subscribe()
    answer = await buyer.ask_to_buy(made)
    assert (answer.code, json_of(answer)["code"]) == (404, "price_not_found")


@pytest.mark.gen_test(timeout=30)
async def test_no_price_at_all_is_an_empty_list(api: Api, sandbox: Sandbox, shop: Shop) -> None:
    for price_id in (*shop.packages, shop.plan):
        sandbox.update_price(price_id, active=False)
    assert await prices(api) == []
    assert await plans(api) == []


@pytest.mark.parametrize("kind", ["inactive", "archived", "recurring", "foreign", "unknown"])
@pytest.mark.parametrize("cached", [True, False])
@pytest.mark.gen_test(timeout=30)
async def test_what_is_not_for_sale_cannot_be_bought(
    buyer: Buyer, sandbox: Sandbox, shop: Shop, webhooks: Webhooks, kind: str, cached: bool
) -> None:
    await buyer.subscribe()
    if cached:
        await prices(buyer.api)
    wanted = "price_unknown"
    if kind == "inactive":
        wanted = package(sandbox, shop, credits=1)
        sandbox.update_price(wanted, active=False)
    elif kind == "archived":
        wanted = shop.packages[0]
        set_product(sandbox, shop.topup_product, active=False)
    elif kind == "recurring":
        wanted = package(sandbox, shop, credits=1, recurring=MONTHLY)
    elif kind == "foreign":
        wanted = package(sandbox, shop, credits=1, product=shop.other_product)
    await webhooks.settle()
    answer = await buyer.ask_to_buy(wanted)
    assert (answer.code, json_of(answer)["code"]) == (404, "price_not_found")
    assert wanted not in {price["id"] for price in await prices(buyer.api)}


@pytest.mark.parametrize("kind", ["yearly", "quarterly", "one-time", "foreign", "inactive"])
@pytest.mark.gen_test(timeout=30)
async def test_only_a_monthly_price_of_ours_is_a_plan(
    buyer: Buyer, sandbox: Sandbox, shop: Shop, kind: str
) -> None:
    params: dict[str, Any] = {"product": shop.plan_product, "recurring": MONTHLY}
    if kind == "yearly":
        params["recurring"] = {"interval": "year"}
    elif kind == "quarterly":
        params["recurring"] = {"interval": "month", "interval_count": 3}
    elif kind == "one-time":
        params.pop("recurring")
    elif kind == "foreign":
        params["product"] = shop.other_product
    wanted = sandbox.create_price(unit_amount=100, currency="usd", **params)["id"]
    if kind == "inactive":
        sandbox.update_price(wanted, active=False)
    assert [plan["id"] for plan in await plans(buyer.api)] == [shop.plan]
    answer = await buyer.ask_to_subscribe(wanted)
    assert (answer.code, json_of(answer)["code"]) == (404, "price_not_found")


@pytest.mark.gen_test(timeout=30)
async def test_plans_come_cheapest_first_with_what_their_prices_say(
    api: Api, sandbox: Sandbox, shop: Shop
) -> None:
    team = sandbox.create_price(
        product=shop.plan_product,
        unit_amount=1250,
        currency="eur",
        recurring=MONTHLY,
        nickname="Team",
        lookup_key="team",
        metadata={"included_runs": "300"},
    )
    listed = await plans(api)
    assert listed[0] == {
        "id": team["id"],
        "name": "Team",
        "code": "team",
        "amount": 1250,
        "price": 12.5,
        "currency": "eur",
        "interval": "month",
        "included_runs": 300,
    }
    assert listed[1]["id"] == shop.plan


@pytest.mark.parametrize(("currency", "price"), [("jpy", 1500.0), ("usd", 15.0), ("kwd", 1.5)])
@pytest.mark.gen_test(timeout=30)
async def test_the_major_unit_is_the_currencys_own(
    api: Api, sandbox: Sandbox, shop: Shop, currency: str, price: float
) -> None:
    sandbox.create_price(
        product=shop.plan_product, unit_amount=1500, currency=currency, recurring=MONTHLY
    )
    assert (await plans(api))[0]["price"] == price


@pytest.mark.gen_test(timeout=30)
async def test_a_currency_without_cents_is_never_rescaled(
    buyer: Buyer, sandbox: Sandbox, shop: Shop, webhooks: Webhooks
) -> None:
    yen = package(sandbox, shop, 750, currency="jpy", credits=50)
    await buyer.subscribe()
    [shown] = [price for price in await prices(buyer.api) if price["id"] == yen]
    assert (shown["amount"], shown["unit_amount"], shown["currency"]) == (750, 750, "jpy")
    intent = await buyer.buy(yen)
    assert (intent["amount_received"], intent["currency"]) == (750, "jpy")
    assert await buyer.credits() == 50


@pytest.mark.gen_test(timeout=30)
async def test_prices_are_cached(api: Api, sandbox: Sandbox, shop: Shop) -> None:
    await asyncio.gather(*(prices(api) for _ in range(10)))
    await prices(api)
    assert calls(sandbox, *LIST) == 1, "one request asks for all who wait"


@pytest.mark.gen_test(timeout=30)
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
@pytest.mark.gen_test(timeout=30)
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


@pytest.mark.gen_test(timeout=30)
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


@pytest.mark.gen_test(timeout=30)
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
@pytest.mark.gen_test(timeout=30)
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


@pytest.mark.gen_test(timeout=30)
async def test_prices_of_long_ago_are_not_shown(
    api: Api, sandbox: Sandbox, shop: Shop, stopwatch: Stopwatch, quick_retries: None
) -> None:
    await prices(api)
    stopwatch.seconds += STALE_SECONDS + 1
    sandbox.api.refuse(503, times=3)
    assert (await api.get(f"{STRIPE_ROUTES}/topup/prices")).code == 503


@pytest.mark.parametrize("path", [f"{STRIPE_ROUTES}/topup/prices", f"{IAM_ROUTES}/plans/catalog"])
@pytest.mark.gen_test(timeout=30)
async def test_stripe_is_down_before_anything_is_known(
    api: Api, sandbox: Sandbox, shop: Shop, quick_retries: None, path: str
) -> None:
    sandbox.api.refuse(503, times=100)
    answer = await api.get(path)
    assert (answer.code, json_of(answer)["code"]) == (503, "stripe_unavailable")
    assert int(answer.headers["Retry-After"]) > 0
    sandbox.api.normal()
    assert (await api.get(path)).code == 200, "and is asked again by the next request"
