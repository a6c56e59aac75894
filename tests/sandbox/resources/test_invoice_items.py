"""Invoice items: pending, on a draft invoice, and priced by a price."""

from typing import Any

import pytest
import stripe

from datalayer_stripe.sandbox import Sandbox
from tests.sandbox.conftest import Shop, event_types


def lines_of(sandbox: Sandbox, invoice_id: str) -> list[int]:
    return [line["amount"] for line in sandbox.get(invoice_id)["lines"]["data"]]


@pytest.mark.gen_test
async def test_item_on_a_draft_invoice_is_changed_and_deleted(
    sandbox: Sandbox, client: stripe.StripeClient, shop: Shop
) -> None:
    items = client.v1.invoice_items
    invoice = await client.v1.invoices.create_async({"customer": shop.customer})
    first = await items.create_async(
        {"customer": shop.customer, "invoice": invoice.id, "amount": 300, "currency": "usd"}
    )
    await items.create_async(
        {
            "customer": shop.customer,
            "invoice": invoice.id,
            "pricing": {"price": shop.price},
            "quantity": 100,
            "metadata": {"why": "extra"},
        }
    )
    # 100 credits at $5.00 for every 50
    assert lines_of(sandbox, invoice.id) == [300, 1000]
    assert sandbox.get(invoice.id)["amount_due"] == 1300
    await items.update_async(first.id, {"amount": 200, "description": "less"})
    assert sorted(lines_of(sandbox, invoice.id)) == [200, 1000]
    await items.delete_async(first.id)
    assert sandbox.get(invoice.id)["total"] == 1000
    assert event_types(sandbox)[-2:] == ["invoice.updated", "invoiceitem.deleted"]
    on_invoice = await items.list_async({"invoice": invoice.id})
    assert [item.metadata.to_dict() for item in on_invoice.data] == [{"why": "extra"}]

    await client.v1.invoices.finalize_invoice_async(invoice.id)
    for change in (
        items.delete_async(on_invoice.data[0].id),
        items.create_async({"customer": shop.customer, "invoice": invoice.id, "amount": 1}),
    ):
        with pytest.raises(stripe.InvalidRequestError) as caught:
            await change
        assert caught.value.code == "invoice_not_editable"


@pytest.mark.gen_test
async def test_pending_items_are_listed(
    sandbox: Sandbox, client: stripe.StripeClient, shop: Shop
) -> None:
    items = client.v1.invoice_items
    item = await items.create_async(
        {"customer": shop.customer, "unit_amount_decimal": "12.5", "quantity": 4}
    )
    assert (item.amount, item.quantity, item.invoice) == (50, 4, None)
    assert [i.id for i in (await items.list_async({"pending": True})).data] == [item.id]
    assert (await items.list_async({"pending": False})).data == []
    assert (await items.retrieve_async(item.id, {"expand": ["customer"]})).customer.name == "Ada"


@pytest.mark.parametrize(
    ("params", "param"),
    [
        ({}, "amount"),
        ({"pricing": {"price": "monthly"}}, "pricing[price]"),
        ({"pricing": {"price": "price_none"}}, "pricing[price]"),
        ({"amount": 5, "invoice": "in_none"}, "invoice"),
    ],
)
@pytest.mark.gen_test
async def test_item_needs_an_amount_and_a_one_time_price(
    client: stripe.StripeClient, shop: Shop, params: dict[str, Any], param: str
) -> None:
    if params.get("pricing") == {"price": "monthly"}:
        params = {"pricing": {"price": shop.monthly}}
    with pytest.raises(stripe.InvalidRequestError) as caught:
        await client.v1.invoice_items.create_async({"customer": shop.customer, **params})
    assert caught.value.param == param
