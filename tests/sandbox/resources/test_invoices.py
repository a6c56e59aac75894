"""Invoices of invoice items: draft, finalized, sent, paid, void."""

from typing import Any

import pytest
import stripe

from datalayer_stripe.sandbox import Sandbox
from tests.sandbox.conftest import Shop, event_types
from tests.sandbox.creation import attach_default_card


async def create_invoice(
    client: stripe.StripeClient, shop: Shop, amount: int = 2000, **params: Any
) -> stripe.Invoice:
    """Create a draft invoice of one pending item."""
    item = {"customer": shop.customer, "amount": amount, "currency": "usd", "description": "Work"}
    await client.v1.invoice_items.create_async(item)
    return await client.v1.invoices.create_async(
        {"customer": shop.customer, "pending_invoice_items_behavior": "include", **params}
    )


@pytest.mark.gen_test
async def test_draft_has_the_pending_items_of_its_currency(
    client: stripe.StripeClient, shop: Shop
) -> None:
    items = client.v1.invoice_items
    euros = await items.create_async({"customer": shop.customer, "amount": 7, "currency": "eur"})
    excluded = await client.v1.invoices.create_async({"customer": shop.customer})
    assert (excluded.amount_due, excluded.status) == (0, "draft")
    invoice = await create_invoice(client, shop, currency="usd", footer="Thanks")
    assert (invoice.amount_due, invoice.currency, invoice.footer) == (2000, "usd", "Thanks")
    assert [line.description for line in invoice.lines.data] == ["Work"]
    pending = await items.list_async({"pending": True})
    assert [item.id for item in pending.data] == [euros.id]
    dollars = await items.create_async({"customer": shop.customer, "amount": 9, "currency": "usd"})
    other = await client.v1.invoices.create_async(
        {"customer": shop.customer, "pending_invoice_items_behavior": "include"}
    )
    assert (other.amount_due, other.currency) == (7, "eur"), "the currency of the oldest item"
    assert (await items.retrieve_async(dollars.id)).invoice is None


@pytest.mark.gen_test
async def test_draft_is_finalized_and_paid_with_the_default_card(
    sandbox: Sandbox, client: stripe.StripeClient, shop: Shop
) -> None:
    attach_default_card(sandbox, shop.customer)
    invoice = await create_invoice(client, shop)
    since = len(sandbox.events)
    paid = await client.v1.invoices.pay_async(invoice.id, {"expand": ["payments"]})
    assert (paid.status, paid.amount_paid, paid.billing_reason) == ("paid", 2000, "manual")
    assert paid.payments.data[0].status == "paid"
    assert event_types(sandbox, since) == [
        "invoice.finalized",
        "payment_intent.created",
        "charge.succeeded",
        "payment_intent.succeeded",
        "invoice.paid",
        "invoice.payment_succeeded",
    ]
    intent = sandbox.get(paid.payments.data[0].payment.payment_intent)
    assert (intent["setup_future_usage"], intent["customer"]) == (None, shop.customer)
    assert intent["description"] == "Payment for Invoice"
    with pytest.raises(stripe.InvalidRequestError, match="Invoice is paid"):
        await client.v1.invoices.pay_async(invoice.id)


@pytest.mark.gen_test
async def test_declined_card_leaves_the_invoice_open(
    sandbox: Sandbox, client: stripe.StripeClient, shop: Shop
) -> None:
    method = await client.v1.payment_methods.attach_async(
        "pm_card_chargeCustomerFail", {"customer": shop.customer}
    )
    invoice = await create_invoice(client, shop)
    with pytest.raises(stripe.CardError):
        await client.v1.invoices.pay_async(invoice.id, {"payment_method": method.id})
    assert event_types(sandbox)[-1] == "invoice.payment_failed"
    assert sandbox.get(invoice.id)["status"] == "open"
    settled = await client.v1.invoices.pay_async(invoice.id, {"paid_out_of_band": True})
    assert (settled.status, settled.amount_paid_off_stripe) == ("paid", 2000)
    assert event_types(sandbox)[-1] == "payment_intent.canceled"


@pytest.mark.gen_test
async def test_invoice_has_a_default_card_of_its_own(
    sandbox: Sandbox, client: stripe.StripeClient, shop: Shop
) -> None:
    attach_default_card(sandbox, shop.customer, "pm_card_chargeCustomerFail")
    methods = client.v1.payment_methods
    own = await methods.attach_async("pm_card_mastercard", {"customer": shop.customer})
    invoice = await create_invoice(client, shop, default_payment_method=own.id)
    await client.v1.invoices.finalize_invoice_async(invoice.id)
    intent = next(obj for obj in sandbox.objects if obj["object"] == "payment_intent")
    assert (intent["payment_method"], intent["status"]) == (own.id, "requires_confirmation")
    assert (await client.v1.invoices.pay_async(invoice.id)).status == "paid"
    with pytest.raises(stripe.InvalidRequestError) as caught:
        await create_invoice(client, shop, default_payment_method="pm_card_visa")
    assert caught.value.param == "default_payment_method"


@pytest.mark.gen_test
async def test_old_api_version_shows_the_item_of_a_line(
    client: stripe.StripeClient, shop: Shop
) -> None:
    invoice = await create_invoice(client, shop)
    old = await client.v1.invoices.retrieve_async(
        invoice.id, options={"stripe_version": "2024-06-20"}
    )
    (line,) = old.lines.data
    (item,) = (await client.v1.invoice_items.list_async({"invoice": invoice.id})).data
    assert (line["type"], line["invoice_item"], line["subscription"]) == (
        "invoiceitem",
        item.id,
        None,
    )


@pytest.mark.gen_test
async def test_card_that_needs_authentication_leaves_the_invoice_open(
    sandbox: Sandbox, client: stripe.StripeClient, shop: Shop
) -> None:
    attach_default_card(sandbox, shop.customer, "pm_card_threeDSecure2Required")
    invoice = await create_invoice(client, shop)
    with pytest.raises(stripe.CardError) as caught:
        await client.v1.invoices.pay_async(invoice.id)
    assert caught.value.code == "authentication_required"
    types = ["invoice.payment_failed", "invoice.payment_action_required"]
    assert event_types(sandbox)[-2:] == types


@pytest.mark.gen_test
async def test_pay_without_a_card_changes_nothing(
    sandbox: Sandbox, client: stripe.StripeClient, shop: Shop
) -> None:
    invoice = await create_invoice(client, shop)
    with pytest.raises(stripe.InvalidRequestError, match="no attached payment source"):
        await client.v1.invoices.pay_async(invoice.id)
    assert sandbox.get(invoice.id)["status"] == "draft"


@pytest.mark.gen_test
async def test_invoice_is_sent_to_its_customer(
    sandbox: Sandbox, client: stripe.StripeClient, shop: Shop
) -> None:
    invoice = await create_invoice(client, shop, collection_method="send_invoice", days_until_due=7)
    sent = await client.v1.invoices.send_invoice_async(invoice.id)
    assert (sent.status, sent.due_date - sent.created) == ("open", 7 * 24 * 3600)
    assert event_types(sandbox)[-1] == "invoice.sent"
    automatic = await create_invoice(client, shop)
    with pytest.raises(stripe.InvalidRequestError, match="send_invoice"):
        await client.v1.invoices.send_invoice_async(automatic.id)
    listed = await client.v1.invoices.list_async({"collection_method": "send_invoice"})
    assert [one.id for one in listed.data] == [invoice.id]


@pytest.mark.gen_test
async def test_uncollectible_invoice_is_voided(
    sandbox: Sandbox, client: stripe.StripeClient, shop: Shop
) -> None:
    invoices = client.v1.invoices
    invoice = await create_invoice(client, shop)
    with pytest.raises(stripe.InvalidRequestError, match="only mark as uncollectible open"):
        await invoices.mark_uncollectible_async(invoice.id)
    await invoices.finalize_invoice_async(invoice.id)
    lost = await invoices.mark_uncollectible_async(invoice.id)
    assert (lost.status, lost.auto_advance) == ("uncollectible", False)
    assert lost.status_transitions.marked_uncollectible_at >= lost.created
    assert event_types(sandbox)[-1] == "invoice.marked_uncollectible"
    assert (await invoices.void_invoice_async(invoice.id)).status == "void"
    assert event_types(sandbox)[-2:] == ["invoice.voided", "payment_intent.canceled"]


@pytest.mark.gen_test
async def test_only_a_draft_is_edited_and_deleted(
    sandbox: Sandbox, client: stripe.StripeClient, shop: Shop
) -> None:
    invoices = client.v1.invoices
    invoice = await create_invoice(client, shop)
    changed = await invoices.update_async(invoice.id, {"description": "New", "metadata": {"a": 1}})
    assert (changed.description, changed.metadata["a"]) == ("New", "1")
    assert event_types(sandbox)[-1] == "invoice.updated"
    lines = await invoices.line_items.list_async(invoice.id)
    assert [line.amount for line in lines.data] == [2000]
    assert (await invoices.delete_async(invoice.id)).deleted is True
    with pytest.raises(stripe.InvalidRequestError) as caught:
        await invoices.retrieve_async(invoice.id)
    assert caught.value.code == "resource_missing"
    assert (await client.v1.invoice_items.list_async()).data == []

    final = await create_invoice(client, shop)
    await invoices.finalize_invoice_async(final.id)
    await invoices.update_async(final.id, {"metadata": {"a": "2"}})
    for refused in (
        invoices.update_async(final.id, {"description": "Late"}),
        invoices.delete_async(final.id),
        invoices.finalize_invoice_async(final.id),
    ):
        with pytest.raises(stripe.InvalidRequestError) as caught:
            await refused
        assert caught.value.code == "invoice_not_editable"


@pytest.mark.gen_test
async def test_credit_is_paid_when_finalized(client: stripe.StripeClient, shop: Shop) -> None:
    invoice = await create_invoice(client, shop, amount=-500)
    assert (invoice.total, invoice.amount_due) == (-500, 0)
    final = await client.v1.invoices.finalize_invoice_async(invoice.id)
    assert (final.status, final.amount_paid) == ("paid", 0)
