"""Subscriptions and their invoices."""

from typing import Any

import pytest
import stripe

from datalayer_stripe.sandbox import Sandbox, SandboxCardError, StripeError
from tests.sandbox.conftest import Shop, event_types, last_event_data
from tests.sandbox.creation import attach_default_card, create_active, create_incomplete


@pytest.mark.gen_test
async def test_first_payment_activates_subscription(
    sandbox: Sandbox, client: stripe.StripeClient, shop: Shop
) -> None:
    subscription = await create_incomplete(client, shop)
    assert subscription.status == "incomplete"
    invoice = subscription.latest_invoice
    assert (invoice.status, invoice.amount_due) == ("open", 2900)
    assert invoice.parent.subscription_details.metadata.account_uid == "u1"
    intent_id = invoice.payments.data[0].payment.payment_intent
    intent = await client.v1.payment_intents.retrieve_async(intent_id)
    assert intent.client_secret == invoice.confirmation_secret.client_secret
    assert intent.metadata.to_dict() == {}, "an invoice's PaymentIntent has no metadata"

    sandbox.confirm_payment(intent.client_secret)

    now = sandbox.get(subscription.id)
    assert now["status"] == "active"
    assert now["default_payment_method"] == sandbox.get(intent_id)["payment_method"]
    paid = sandbox.get(invoice.id)
    assert (paid["status"], paid["amount_paid"], paid["amount_remaining"]) == ("paid", 2900, 0)
    assert {"invoice.paid", "invoice.payment_succeeded"} <= set(event_types(sandbox))
    updated = last_event_data(sandbox, "customer.subscription.updated")
    assert updated["previous_attributes"]["status"] == "incomplete"


@pytest.mark.gen_test
async def test_subscription_stays_incomplete_after_failed_first_payment(
    sandbox: Sandbox, client: stripe.StripeClient, shop: Shop
) -> None:
    subscription = await create_incomplete(client, shop)
    secret = subscription.latest_invoice.confirmation_secret.client_secret
    with pytest.raises(SandboxCardError):
        sandbox.confirm_payment(secret, "pm_card_chargeDeclined")
    assert sandbox.get(subscription.id)["status"] == "incomplete"
    assert event_types(sandbox)[-1] == "invoice.payment_failed"
    assert sandbox.get(subscription.latest_invoice.id)["attempt_count"] == 1

    sandbox.confirm_payment(secret, "pm_card_threeDSecure2Required")
    assert event_types(sandbox)[-1] == "invoice.payment_action_required"
    sandbox.authenticate(secret.split("_secret_")[0])
    assert sandbox.get(subscription.id)["status"] == "active"


@pytest.mark.gen_test
async def test_allow_incomplete_charges_immediately(
    sandbox: Sandbox, client: stripe.StripeClient, shop: Shop
) -> None:
    request: dict[str, Any] = {"customer": shop.customer, "items": [{"price": shop.monthly}]}
    with pytest.raises(stripe.InvalidRequestError, match="no attached payment source"):
        await client.v1.subscriptions.create_async(request)

    attach_default_card(sandbox, shop.customer)
    subscription = await client.v1.subscriptions.create_async(request)
    assert subscription.status == "active"
    assert event_types(sandbox)[-1] == "customer.subscription.created"
    assert last_event_data(sandbox, "customer.subscription.created")["object"]["status"] == "active"
    assert "customer.subscription.updated" not in event_types(sandbox)

    attach_default_card(sandbox, shop.customer, "pm_card_chargeCustomerFail")
    declined = await client.v1.subscriptions.create_async(request)
    assert declined.status == "incomplete"

    before = len(sandbox.events)
    with pytest.raises(stripe.CardError) as caught:
        await client.v1.subscriptions.create_async(
            {**request, "payment_behavior": "error_if_incomplete"}
        )
    assert caught.value.code == "card_declined"
    assert len(sandbox.events) == before, "nothing was created"


@pytest.mark.gen_test
async def test_cancellation_is_scheduled_revoked_and_executed(
    sandbox: Sandbox, client: stripe.StripeClient, shop: Shop
) -> None:
    subscription_id = await create_active(sandbox, client, shop)
    subscriptions = client.v1.subscriptions
    scheduled = await subscriptions.update_async(subscription_id, {"cancel_at_period_end": True})
    end = sandbox.get(subscription_id)["items"]["data"][0]["current_period_end"]
    assert (scheduled.status, scheduled.cancel_at) == ("active", end)
    assert scheduled.cancellation_details.reason == "cancellation_requested"
    previous = last_event_data(sandbox, "customer.subscription.updated")["previous_attributes"]
    assert previous == {
        "cancel_at": None,
        "cancel_at_period_end": False,
        "canceled_at": None,
        "cancellation_details": {"reason": None},
    }
    resumed = await subscriptions.update_async(subscription_id, {"cancel_at_period_end": False})
    assert (resumed.cancel_at, resumed.canceled_at, resumed.cancellation_details.reason) == (
        None,
    ) * 3

    sandbox.cancel_subscription(subscription_id, now=False)
    ended = sandbox.renew(subscription_id)
    assert (ended["status"], ended["ended_at"]) == ("canceled", end)
    assert event_types(sandbox)[-1] == "customer.subscription.deleted"
    with pytest.raises(stripe.InvalidRequestError) as caught:
        await subscriptions.update_async(subscription_id, {"cancel_at_period_end": False})
    assert caught.value.code == "invalid_canceled_subscription_fields"
    with pytest.raises(stripe.InvalidRequestError) as caught:
        await subscriptions.cancel_async(subscription_id)
    assert caught.value.code == "resource_missing"
    with pytest.raises(StripeError, match="does not renew"):
        sandbox.renew(subscription_id)


@pytest.mark.gen_test
async def test_subscription_is_canceled_immediately(
    sandbox: Sandbox, client: stripe.StripeClient, shop: Shop
) -> None:
    subscription_id = await create_active(sandbox, client, shop)
    sandbox.renew(subscription_id, fail=True)
    canceled = await client.v1.subscriptions.cancel_async(
        subscription_id, {"cancellation_details": {"feedback": "unused", "comment": "bye"}}
    )
    assert (canceled.status, canceled.cancellation_details.feedback) == ("canceled", "unused")
    assert canceled.ended_at is not None
    invoice = sandbox.get(canceled.latest_invoice)
    assert (invoice["status"], invoice["next_payment_attempt"]) == ("open", None)


@pytest.mark.gen_test
async def test_canceling_incomplete_subscription_voids_its_invoice(
    sandbox: Sandbox, client: stripe.StripeClient, shop: Shop
) -> None:
    subscription = await create_incomplete(client, shop)
    assert sandbox.cancel_subscription(subscription.id)["status"] == "incomplete_expired"
    assert sandbox.get(subscription.latest_invoice.id)["status"] == "void"
    assert event_types(sandbox)[-2:] == ["invoice.voided", "payment_intent.canceled"]
    with pytest.raises(StripeError, match="canceled"):
        sandbox.confirm_payment(subscription.latest_invoice.confirmation_secret.client_secret)


@pytest.mark.gen_test
async def test_price_of_subscription_is_changed(
    sandbox: Sandbox, client: stripe.StripeClient, shop: Shop
) -> None:
    subscription_id = await create_active(sandbox, client, shop)
    item = sandbox.get(subscription_id)["items"]["data"][0]["id"]
    higher_price = sandbox.create_price(
        product=shop.plan, unit_amount=4900, recurring={"interval": "month"}
    )["id"]
    yearly = sandbox.create_price(
        product=shop.plan, unit_amount=29000, recurring={"interval": "year"}
    )["id"]
    subscriptions = client.v1.subscriptions
    with pytest.raises(stripe.InvalidRequestError, match="interval"):
        await subscriptions.update_async(
            subscription_id, {"items": [{"id": item, "price": yearly}]}
        )
    with pytest.raises(stripe.InvalidRequestError, match="No such subscription item"):
        await subscriptions.update_async(
            subscription_id, {"items": [{"id": "si_none", "price": higher_price}]}
        )
    await subscriptions.update_async(
        subscription_id,
        {"items": [{"id": item, "price": higher_price}], "proration_behavior": "none"},
    )
    sandbox.renew(subscription_id)
    assert last_event_data(sandbox, "invoice.paid")["object"]["total"] == 4900


@pytest.mark.gen_test
async def test_item_contains_current_price(
    sandbox: Sandbox, client: stripe.StripeClient, shop: Shop
) -> None:
    subscription_id = await create_active(sandbox, client, shop)
    sandbox.update_price(shop.monthly, nickname="Pro")
    subscription = await client.v1.subscriptions.retrieve_async(subscription_id)
    assert subscription["items"].data[0].price.nickname == "Pro"


@pytest.mark.gen_test
async def test_invalid_subscription_is_rejected(
    sandbox: Sandbox, client: stripe.StripeClient, shop: Shop
) -> None:
    with pytest.raises(stripe.InvalidRequestError, match="type=one_time"):
        await create_incomplete(client, shop, items=[{"price": shop.price}])
    sandbox.update_price(shop.monthly, active=False)
    with pytest.raises(stripe.InvalidRequestError, match="inactive"):
        await create_incomplete(client, shop)
    with pytest.raises(stripe.InvalidRequestError) as caught:
        await create_incomplete(client, shop, customer="cus_none")
    assert (caught.value.http_status, caught.value.param) == (400, "customer")
    foreign_method = sandbox.call(
        "POST",
        "/v1/payment_methods/pm_card_visa/attach",
        customer=sandbox.create_customer()["id"],
    )
    sandbox.update_price(shop.monthly, active=True)
    with pytest.raises(stripe.InvalidRequestError, match="does not have a payment method"):
        await create_incomplete(client, shop, default_payment_method=foreign_method["id"])


@pytest.mark.gen_test
async def test_subscriptions_and_invoices_are_listed_by_filter(
    sandbox: Sandbox, client: stripe.StripeClient, shop: Shop
) -> None:
    ended = await create_active(sandbox, client, shop)
    sandbox.cancel_subscription(ended)
    current = await create_active(sandbox, client, shop)
    waiting = (await create_incomplete(client, shop)).id

    async def listed(**params: Any) -> list[str]:
        page = await client.v1.subscriptions.list_async({"customer": shop.customer, **params})
        return [subscription.id for subscription in page.data]

    assert await listed() == [waiting, current]
    assert await listed(status="all") == [waiting, current, ended]
    assert await listed(status="canceled") == [ended]
    assert await listed(status="ended") == [ended]
    assert await listed(status="active", price=shop.monthly) == [current]
    assert await listed(price=shop.price) == []

    invoices = client.v1.invoices
    unpaid = await invoices.list_async({"subscription": waiting, "status": "open"})
    assert [invoice.id for invoice in unpaid.data] == [sandbox.get(waiting)["latest_invoice"]]
    assert len((await invoices.list_async({"customer": shop.customer})).data) == 3
    with_subscriptions = await client.v1.customers.retrieve_async(
        shop.customer, {"expand": ["subscriptions"]}
    )
    assert len(with_subscriptions.subscriptions.data) == 2


@pytest.mark.gen_test
async def test_invoice_is_paid_through_api(
    sandbox: Sandbox, client: stripe.StripeClient, shop: Shop
) -> None:
    subscription = await create_incomplete(client, shop)
    invoice_id = subscription.latest_invoice.id
    with pytest.raises(stripe.InvalidRequestError, match="no attached payment source"):
        await client.v1.invoices.pay_async(invoice_id)
    method = attach_default_card(sandbox, shop.customer)
    paid = await client.v1.invoices.pay_async(invoice_id, {"payment_method": method})
    assert paid.status == "paid"
    assert sandbox.get(subscription.id)["status"] == "active"
    with pytest.raises(stripe.InvalidRequestError) as caught:
        await client.v1.invoices.pay_async(invoice_id)
    assert caught.value.code == "invoice_already_paid"


@pytest.mark.gen_test
async def test_subscriptions_are_listed_by_collection_method(
    client: stripe.StripeClient, shop: Shop
) -> None:
    created = await create_incomplete(client, shop)
    for method, expected in (("charge_automatically", [created.id]), ("send_invoice", [])):
        listed = await client.v1.subscriptions.list_async({"collection_method": method})
        assert [subscription.id for subscription in listed.data] == expected
