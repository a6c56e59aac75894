"""Packages and plans are read from Stripe's prices."""

from typing import Any

import pytest

from datalayer_stripe.models import MAX_CREDITS
from datalayer_stripe.sandbox import Sandbox
from datalayer_stripe.sandbox.delivery.webhooks import Webhooks
from tests.support.app import Api, json_of
from tests.support.shop import IAM_ROUTES, Buyer, Shop, package, prices, set_product

MONTHLY = {"interval": "month"}


async def plans(api: Api) -> list[dict[str, Any]]:
    answer = await api.get(f"{IAM_ROUTES}/subscription/plans")
    assert answer.code == 200
    return list(json_of(answer)["plans"])


@pytest.mark.gen_test
async def test_packages_are_sorted_by_price(api: Api, sandbox: Sandbox, shop: Shop) -> None:
    cheapest = package(sandbox, shop, 100, credits=9, nickname="Small")
    most_expensive = package(sandbox, shop, 90_000, credits=12_000)
    listed = await prices(api)
    assert [price["id"] for price in listed] == [cheapest, *shop.packages, most_expensive]
    assert [price["amount"] for price in listed] == [100, 500, 2000, 5000, 90_000]
    assert all(price["unit_amount"] == price["amount"] for price in listed)
    assert [price["credits"] for price in listed] == [9, 50, 220, 600, 12_000]
    assert [price["name"] for price in listed[:2]] == ["Small", "Credits"]
    assert [price["default"] for price in listed] == [True, False, False, False, False]


@pytest.mark.parametrize(("default", "shown"), [(2, 2), ("inactive", 0), ("foreign", 0)])
@pytest.mark.gen_test
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
    ("params", "credits"),
    [
        ({"credits": 70}, 70),
        ({"credits": 70, "metadata": {"credits": "80"}}, 70),
        ({"metadata": {"credits": "80"}}, 80),
        ({"credits": MAX_CREDITS}, MAX_CREDITS),
    ],
)
@pytest.mark.gen_test
async def test_credits_of_a_package_are_read_from_its_price(
    api: Api, sandbox: Sandbox, shop: Shop, params: dict[str, Any], credits: int
) -> None:
    made = package(sandbox, shop, **params)
    assert (made, credits) in {(price["id"], price["credits"]) for price in await prices(api)}


@pytest.mark.parametrize(
    "params",
    [
        {},
        {"metadata": {"credits": "many"}},
        {"metadata": {"credits": "0"}},
        {"metadata": {"credits": "1_000"}},
        {"credits": MAX_CREDITS + 1},
        {"credits": 5, "unit_amount": 0},
    ],
)
@pytest.mark.gen_test
async def test_price_that_cannot_be_sold_is_left_out_and_logged(
    buyer: Buyer,
    sandbox: Sandbox,
    shop: Shop,
    webhooks: Webhooks,
    caplog: pytest.LogCaptureFixture,
    params: dict[str, Any],
) -> None:
    made = package(sandbox, shop, **params)
    assert [price["id"] for price in await prices(buyer.api)] == shop.packages
    assert made in caplog.text
    await buyer.subscribe()
    answer = await buyer.ask_to_buy(made)
    assert (answer.code, json_of(answer)["code"]) == (404, "price_not_found")


@pytest.mark.gen_test
async def test_lists_are_empty_without_active_prices(
    api: Api, sandbox: Sandbox, shop: Shop
) -> None:
    for price_id in (*shop.packages, shop.plan):
        sandbox.update_price(price_id, active=False)
    assert await prices(api) == []
    assert await plans(api) == []


@pytest.mark.parametrize("kind", ["inactive", "archived", "recurring", "foreign", "unknown"])
@pytest.mark.parametrize("cached", [True, False])
@pytest.mark.gen_test
async def test_price_that_is_not_for_sale_cannot_be_bought(
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
@pytest.mark.gen_test
async def test_only_a_monthly_price_of_a_configured_product_is_a_plan(
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


@pytest.mark.gen_test
async def test_plans_are_sorted_by_price_and_show_its_fields(
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


@pytest.mark.parametrize(
    ("currency", "price"), [("jpy", 1500.0), ("usd", 15.0), ("kwd", 1.5), ("ugx", 15.0)]
)
@pytest.mark.gen_test
async def test_price_is_in_the_major_unit_of_its_currency(
    api: Api, sandbox: Sandbox, shop: Shop, currency: str, price: float
) -> None:
    sandbox.create_price(
        product=shop.plan_product, unit_amount=1500, currency=currency, recurring=MONTHLY
    )
    assert (await plans(api))[0]["price"] == price


@pytest.mark.gen_test
async def test_amount_of_a_currency_without_minor_unit_is_not_rescaled(
    buyer: Buyer, sandbox: Sandbox, shop: Shop, webhooks: Webhooks
) -> None:
    yen = package(sandbox, shop, 750, currency="jpy", credits=50)
    await buyer.subscribe()
    [shown] = [price for price in await prices(buyer.api) if price["id"] == yen]
    assert (shown["amount"], shown["unit_amount"], shown["currency"]) == (750, 750, "jpy")
    intent = await buyer.buy(yen)
    assert (intent["amount_received"], intent["currency"]) == (750, "jpy")
    assert await buyer.credits() == 50
