"""Products and prices."""

from typing import Any

import pytest
import stripe

from datalayer_stripe.sandbox import Sandbox, StripeError
from tests.sandbox.conftest import Shop, create_subscription


@pytest.mark.gen_test
async def test_product_is_created_updated_and_listed(
    sandbox: Sandbox, client: stripe.StripeClient, shop: Shop
) -> None:
    products = client.v1.products
    created = await products.create_async({"name": "Runs", "metadata": {"team": "x"}})
    changed = await products.update_async(created.id, {"active": False, "description": "old"})
    assert (changed.active, changed.description) == (False, "old")
    previous = sandbox.events[-1]["data"]["previous_attributes"]
    assert {"active": True, "description": None}.items() <= previous.items()
    active = await products.list_async({"active": True})
    assert {product.id for product in active.data} == {shop.product, shop.plan}
    by_id = await products.list_async({"ids": [created.id]})
    assert [product.id for product in by_id.data] == [created.id]
    with pytest.raises(stripe.InvalidRequestError) as caught:
        await products.create_async({"id": created.id, "name": "Again"})
    assert caught.value.code == "resource_already_exists"


@pytest.mark.gen_test
async def test_price_is_listed_and_updated(
    sandbox: Sandbox, client: stripe.StripeClient, shop: Shop
) -> None:
    prices = client.v1.prices
    package = await prices.retrieve_async(shop.price)
    assert (package.type, package.unit_amount, package.recurring) == ("one_time", 500, None)
    assert package.transform_quantity.to_dict() == {"divide_by": 50, "round": "up"}
    monthly = await prices.retrieve_async(shop.monthly, {"expand": ["product"]})
    assert (monthly.type, monthly.recurring.interval) == ("recurring", "month")
    assert monthly.product.name == "Monthly"

    async def listed(**params: Any) -> list[str]:
        return [price.id for price in (await prices.list_async(params)).data]

    assert await listed(product=shop.product) == [shop.price]
    assert await listed(type="recurring") == [shop.monthly]
    assert await listed(recurring={"interval": "year"}) == []
    assert await listed(currency="eur") == []
    sandbox.update_price(shop.price, active=False, nickname="old", lookup_key="fifty")
    assert sandbox.events[-1]["type"] == "price.updated"
    assert await listed(active=False) == [shop.price]
    assert await listed(lookup_keys=["fifty"]) == [shop.price]
    with pytest.raises(stripe.InvalidRequestError, match="already uses that lookup key"):
        await prices.update_async(shop.monthly, {"lookup_key": "fifty"})
    await prices.update_async(shop.monthly, {"lookup_key": "fifty", "transfer_lookup_key": True})
    assert await listed(lookup_keys=["fifty"]) == [shop.monthly]
    with pytest.raises(stripe.InvalidRequestError) as caught:
        await prices.update_async(shop.price, {"unit_amount": 1})
    assert caught.value.code == "parameter_unknown"


@pytest.mark.gen_test
async def test_default_price_of_a_product_cannot_be_archived(
    sandbox: Sandbox, client: stripe.StripeClient, shop: Shop
) -> None:
    await client.v1.products.update_async(shop.product, {"default_price": shop.price})
    with pytest.raises(stripe.InvalidRequestError, match="default price of its product"):
        await client.v1.prices.update_async(shop.price, {"active": False})
    other = sandbox.create_price(product=shop.product, unit_amount=600, credits=50)["id"]
    await client.v1.products.update_async(shop.product, {"default_price": other})
    assert not (await client.v1.prices.update_async(shop.price, {"active": False})).active


@pytest.mark.gen_test
async def test_product_without_prices_is_deleted(
    sandbox: Sandbox, client: stripe.StripeClient, shop: Shop
) -> None:
    products = client.v1.products
    created = await products.create_async({"name": "Short-lived"})
    assert (await products.delete_async(created.id)).deleted is True
    event = sandbox.events[-1]
    assert (event["type"], event["data"]["object"]["name"]) == ("product.deleted", "Short-lived")
    with pytest.raises(stripe.InvalidRequestError) as caught:
        await products.retrieve_async(created.id)
    assert caught.value.code == "resource_missing"
    with pytest.raises(stripe.InvalidRequestError, match="has one or more user-created prices"):
        await products.delete_async(shop.product)
    listed = await products.list_async()
    assert {product.id for product in listed.data} == {shop.product, shop.plan}


@pytest.mark.gen_test
async def test_product_and_its_price_are_created_together(
    sandbox: Sandbox, client: stripe.StripeClient, shop: Shop
) -> None:
    amount = {"currency": "usd", "unit_amount": 900}
    price = await client.v1.prices.create_async(
        {
            **amount,
            "product_data": {"name": "Runs", "metadata": {"team": "x"}, "unit_label": "run"},
            "lookup_key": "runs",
            "expand": ["product"],
        }
    )
    assert (price.product.name, price.product.unit_label) == ("Runs", "run")
    assert price.product.metadata["team"] == "x"
    types = [event["type"] for event in sandbox.events]
    assert types[-2:] == ["product.created", "price.created"]
    product = await client.v1.products.create_async(
        {"name": "Plan", "default_price_data": {**amount, "recurring": {"interval": "month"}}}
    )
    default = sandbox.get(product.default_price)
    assert (default["product"], default["recurring"]["interval"]) == (product.id, "month")

    products = len([obj for obj in sandbox.objects if obj["object"] == "product"])
    for params, message in (
        ({}, "Missing required param: product"),
        ({"product": shop.product, "product_data": {"name": "x"}}, "only specify one of these"),
        ({"product_data": {"name": "x"}, "lookup_key": "runs"}, "already uses that lookup key"),
        ({"product_data": {}}, "Missing required param: product"),
        ({"product_data": {"active": True}}, "product_data.name"),
    ):
        with pytest.raises(stripe.InvalidRequestError, match=message):
            await client.v1.prices.create_async({**amount, **params})
    assert len([obj for obj in sandbox.objects if obj["object"] == "product"]) == products


def test_unused_price_is_deleted(sandbox: Sandbox, shop: Shop) -> None:
    sandbox.call("POST", f"/v1/products/{shop.product}", default_price=shop.price)
    sandbox.delete_price(shop.price)
    assert not sandbox.has(shop.price)
    assert sandbox.get(shop.product)["default_price"] is None
    event = sandbox.events[-1]
    assert (event["type"], event["data"]["object"]["id"]) == ("price.deleted", shop.price)
    create_subscription(sandbox, shop)
    with pytest.raises(StripeError, match="it has been used"):
        sandbox.delete_price(shop.monthly)
