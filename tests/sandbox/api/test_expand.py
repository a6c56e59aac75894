"""Expansion of references."""

import pytest
import stripe

from datalayer_stripe.sandbox import Sandbox
from tests.sandbox.conftest import Http, Shop, error_of


@pytest.mark.gen_test
async def test_references_are_expanded(
    sandbox: Sandbox, client: stripe.StripeClient, shop: Shop
) -> None:
    created = await client.v1.subscriptions.create_async(
        {
            "customer": shop.customer,
            "items": [{"price": shop.monthly}],
            "payment_behavior": "default_incomplete",
            "expand": [
                "items.data.price.product",
                "latest_invoice.payments",
                "latest_invoice.confirmation_secret",
                "customer",
            ],
        }
    )
    assert created["items"].data[0].price.product.name == "Monthly"
    assert created.customer.email == "ada@example.com"
    plain = sandbox.get(created.id)
    assert plain["customer"] == shop.customer
    assert plain["items"]["data"][0]["price"]["product"] == shop.plan
    invoice = await client.v1.invoices.retrieve_async(plain["latest_invoice"])
    assert invoice.confirmation_secret is None
    assert "payments" not in invoice.to_dict()
    deep = await client.v1.invoices.retrieve_async(
        plain["latest_invoice"],
        {
            "expand": [
                "payments.data.payment.payment_intent",
                "parent.subscription_details.subscription",
            ]
        },
    )
    assert deep.payments.data[0].payment.payment_intent.amount == 2900
    assert deep.parent.subscription_details.subscription.id == created.id
    listed = await client.v1.prices.list_async({"expand": ["data.product"]})
    assert {price.product.name for price in listed.data} == {"Credits", "Monthly"}


@pytest.mark.gen_test
@pytest.mark.parametrize(
    ("path", "names", "message"),
    [
        ("subscriptions", "data.items.data.price.product", "more than 4 levels"),
        ("subscriptions", "data.latest_invoice.payments.data.payment", "more than 4 levels"),
        ("prices", "product", "try expanding 'data.product'"),
        ("prices", "data.nothing", "cannot be expanded"),
        ("prices", "data.currency", "cannot be expanded"),
        ("prices", "data.currency.name", "cannot be expanded"),
    ],
)
async def test_invalid_expansion_is_rejected(
    http: Http, shop: Shop, path: str, names: str, message: str
) -> None:
    response = await http("GET", f"/v1/{path}?expand[]={names}")
    assert response.code == 400
    assert message in error_of(response)["message"]
