"""Products, prices, customers, payment methods, SetupIntents and the billing portal."""

from typing import Any

import pytest
import stripe

from datalayer_stripe.sandbox import Sandbox, SandboxCardError
from tests.sandbox.conftest import Shop


def types(sandbox: Sandbox) -> list[str]:
    return [event["type"] for event in sandbox.events]


@pytest.mark.gen_test
async def test_products(sandbox: Sandbox, client: stripe.StripeClient, shop: Shop) -> None:
    products = client.v1.products
    made = await products.create_async({"name": "Runs", "metadata": {"team": "x"}})
    changed = await products.update_async(made.id, {"active": False, "description": "old"})
    assert (changed.active, changed.description) == (False, "old")
    previous = sandbox.events[-1]["data"]["previous_attributes"]
    assert {"active": True, "description": None}.items() <= previous.items()
    active = await products.list_async({"active": True})
    assert {product.id for product in active.data} == {shop.product, shop.plan}
    by_id = await products.list_async({"ids": [made.id]})
    assert [product.id for product in by_id.data] == [made.id]
    with pytest.raises(stripe.InvalidRequestError) as caught:
        await products.create_async({"id": made.id, "name": "Again"})
    assert caught.value.code == "resource_already_exists"


@pytest.mark.gen_test
async def test_prices(sandbox: Sandbox, client: stripe.StripeClient, shop: Shop) -> None:
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
async def test_customers(sandbox: Sandbox, client: stripe.StripeClient, shop: Shop) -> None:
    customers = client.v1.customers
    made = await customers.create_async(
        {"email": "bob@example.com", "payment_method": "pm_card_visa"}
    )
    methods = await customers.payment_methods.list_async(made.id)
    assert [method.customer for method in methods.data] == [made.id]
    found = await customers.list_async({"email": "bob@example.com"})
    assert [customer.id for customer in found.data] == [made.id]

    changed = await customers.update_async(
        made.id,
        {
            "name": "Bob",
            "address": {"city": "Paris"},
            "metadata": {"a": "1"},
            "invoice_settings": {"default_payment_method": methods.data[0].id},
        },
    )
    assert (changed.name, changed.address.city) == ("Bob", "Paris")
    expanded = await customers.retrieve_async(
        made.id, {"expand": ["invoice_settings.default_payment_method"]}
    )
    assert expanded.invoice_settings.default_payment_method.card.brand == "visa"

    deleted = await customers.delete_async(made.id)
    assert deleted.deleted is True
    assert (await customers.retrieve_async(made.id)).deleted is True
    assert types(sandbox)[-1] == "customer.deleted"
    with pytest.raises(stripe.InvalidRequestError):
        await customers.update_async(made.id, {"name": "Ghost"})
    remaining = await customers.list_async()
    assert [customer.id for customer in remaining.data] == [shop.customer]


@pytest.mark.gen_test
async def test_deleting_a_customer_cancels_its_subscriptions(
    sandbox: Sandbox, client: stripe.StripeClient, shop: Shop
) -> None:
    subscription = sandbox.call(
        "POST",
        "/v1/subscriptions",
        customer=shop.customer,
        items=[{"price": shop.monthly}],
        payment_behavior="default_incomplete",
    )
    await client.v1.customers.delete_async(shop.customer)
    assert sandbox.get(subscription["id"])["status"] == "canceled"


@pytest.mark.gen_test
async def test_payment_methods(sandbox: Sandbox, client: stripe.StripeClient, shop: Shop) -> None:
    methods = client.v1.payment_methods
    made = await methods.create_async(
        {
            "type": "card",
            "card": {"number": "5555555555554444", "exp_month": 1, "exp_year": 2039, "cvc": "1"},
            "billing_details": {"name": "Ada", "address": {"country": "GB"}},
        }
    )
    assert (made.card.brand, made.card.exp_year, made.customer) == ("mastercard", 2039, None)
    assert made.billing_details.address.country == "GB"
    attached = await methods.attach_async(made.id, {"customer": shop.customer})
    assert attached.customer == shop.customer
    other = sandbox.create_customer()["id"]
    with pytest.raises(stripe.InvalidRequestError, match="already been attached"):
        await methods.attach_async(made.id, {"customer": other})
    listed = await methods.list_async({"customer": shop.customer, "type": "card"})
    assert [method.id for method in listed.data] == [made.id]
    with pytest.raises(stripe.CardError):
        await methods.attach_async("pm_card_chargeDeclined", {"customer": shop.customer})
    detached = await methods.detach_async(made.id)
    assert detached.customer is None
    assert types(sandbox)[-1] == "payment_method.detached"
    with pytest.raises(stripe.InvalidRequestError, match="not attached"):
        await methods.detach_async(made.id)


@pytest.mark.gen_test
async def test_another_customers_card_is_refused(
    sandbox: Sandbox, client: stripe.StripeClient, shop: Shop
) -> None:
    method = sandbox.call("POST", "/v1/payment_methods/pm_card_visa/attach", customer=shop.customer)
    for create, fields in (
        (client.v1.payment_intents.create_async, {"amount": 500, "currency": "usd"}),
        (client.v1.setup_intents.create_async, {}),
    ):
        with pytest.raises(stripe.InvalidRequestError, match="belongs to"):
            await create({**fields, "payment_method": method["id"]})


@pytest.mark.gen_test
async def test_a_card_is_set_up(sandbox: Sandbox, client: stripe.StripeClient, shop: Shop) -> None:
    setups = client.v1.setup_intents
    setup = await setups.create_async({"customer": shop.customer, "metadata": {"a": "1"}})
    assert setup.status == "requires_payment_method"
    done = sandbox.confirm_setup(setup.client_secret)
    assert done["status"] == "succeeded"
    assert sandbox.get(done["payment_method"])["customer"] == shop.customer
    assert types(sandbox)[-3:] == [
        "setup_intent.created",
        "payment_method.attached",
        "setup_intent.succeeded",
    ]
    with pytest.raises(stripe.InvalidRequestError) as caught:
        await setups.cancel_async(setup.id)
    assert caught.value.code == "setup_intent_unexpected_state"
    listed = await setups.list_async({"customer": shop.customer})
    assert [intent.id for intent in listed.data] == [setup.id]


@pytest.mark.gen_test
async def test_setting_up_fails_or_asks(
    sandbox: Sandbox, client: stripe.StripeClient, shop: Shop
) -> None:
    setup = await client.v1.setup_intents.create_async({"customer": shop.customer})
    with pytest.raises(SandboxCardError):
        sandbox.confirm_setup(setup.client_secret, "4000000000000002")
    assert types(sandbox)[-1] == "setup_intent.setup_failed"
    assert sandbox.get(setup.id)["last_setup_error"]["decline_code"] == "generic_decline"

    waiting = sandbox.confirm_setup(setup.client_secret, "4000002500003155")
    assert waiting["status"] == "requires_action"
    refused = sandbox.authenticate(setup.id, accept=False)
    assert refused["last_setup_error"]["code"] == "setup_intent_authentication_failure"

    sandbox.confirm_setup(setup.client_secret, "4000002500003155")
    assert sandbox.authenticate(setup.id)["status"] == "succeeded"

    other = await client.v1.setup_intents.create_async({})
    canceled = await client.v1.setup_intents.cancel_async(other.id)
    assert canceled.status == "canceled"


@pytest.mark.gen_test
async def test_the_billing_portal(
    sandbox: Sandbox, client: stripe.StripeClient, shop: Shop, http: Any
) -> None:
    portal = client.v1.billing_portal
    with pytest.raises(stripe.InvalidRequestError, match="save your customer portal settings"):
        await portal.sessions.create_async({"customer": shop.customer})
    configuration = await portal.configurations.create_async(
        {
            "features": {"subscription_cancel": {"enabled": True}},
            "business_profile": {"headline": "Credits"},
        }
    )
    assert configuration.is_default
    assert configuration.features.subscription_cancel.mode == "at_period_end"
    updated = await portal.configurations.update_async(
        configuration.id, {"default_return_url": "https://shop.example.com/"}
    )
    assert updated.business_profile.headline == "Credits"
    await portal.configurations.update_async(
        configuration.id, {"features": {"subscription_cancel": {"enabled": False}}}
    )
    previous = sandbox.events[-1]["data"]["previous_attributes"]
    assert previous["features"] == {"subscription_cancel": {"enabled": True}}
    assert len((await portal.configurations.list_async({"active": True})).data) == 1

    created = await portal.sessions.create_async(
        {"customer": shop.customer, "configuration": configuration.id}
    )
    assert created.return_url == "https://shop.example.com/"
    assert created.url.startswith(sandbox.url)
    page = await http("GET", created.url.removeprefix(sandbox.url), key=None)
    assert page.code == 200
    assert b"https://shop.example.com/" in page.body
