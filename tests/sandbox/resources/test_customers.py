"""The API of customers: create, update and delete."""

import pytest
import stripe

from datalayer_stripe.sandbox import Sandbox
from tests.sandbox.conftest import Shop, event_types


@pytest.mark.gen_test
async def test_customer_is_created_updated_and_deleted(
    sandbox: Sandbox, client: stripe.StripeClient, shop: Shop
) -> None:
    customers = client.v1.customers
    created = await customers.create_async(
        {"email": "bob@example.com", "payment_method": "pm_card_visa"}
    )
    methods = await customers.payment_methods.list_async(created.id)
    assert [method.customer for method in methods.data] == [created.id]
    found = await customers.list_async({"email": "bob@example.com"})
    assert [customer.id for customer in found.data] == [created.id]

    changed = await customers.update_async(
        created.id,
        {
            "name": "Bob",
            "address": {"city": "Paris"},
            "metadata": {"a": "1"},
            "invoice_settings": {"default_payment_method": methods.data[0].id},
        },
    )
    assert (changed.name, changed.address.city) == ("Bob", "Paris")
    expanded = await customers.retrieve_async(
        created.id, {"expand": ["invoice_settings.default_payment_method"]}
    )
    assert expanded.invoice_settings.default_payment_method.card.brand == "visa"

    deleted = await customers.delete_async(created.id)
    assert deleted.deleted is True
    assert (await customers.retrieve_async(created.id)).deleted is True
    assert event_types(sandbox)[-1] == "customer.deleted"
    with pytest.raises(stripe.InvalidRequestError):
        await customers.update_async(created.id, {"name": "Ghost"})
    remaining = await customers.list_async()
    assert [customer.id for customer in remaining.data] == [shop.customer]


@pytest.mark.gen_test
async def test_deleting_customer_cancels_its_subscriptions(
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
async def test_customer_is_created_with_a_default_card(
    client: stripe.StripeClient, shop: Shop
) -> None:
    customers = client.v1.customers
    settings = {"default_payment_method": "pm_card_visa"}
    created = await customers.create_async(
        {"payment_method": "pm_card_visa", "invoice_settings": settings}
    )
    methods = await customers.payment_methods.list_async(created.id)
    assert [m.id for m in methods.data] == [created.invoice_settings.default_payment_method]
    subscription = await client.v1.subscriptions.create_async(
        {"customer": created.id, "items": [{"price": shop.monthly}]}
    )
    assert subscription.status == "active"
    with pytest.raises(stripe.InvalidRequestError) as caught:
        await customers.create_async({"invoice_settings": settings})
    assert caught.value.param == "invoice_settings[default_payment_method]"
