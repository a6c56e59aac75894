"""The life of a subscription, its invoices, and the passing of its periods."""

from datetime import UTC, datetime
from typing import Any

import pytest
import stripe

from datalayer_stripe.sandbox import Sandbox, SandboxCardError, StripeError
from datalayer_stripe.sandbox.engine.periods import period_end
from tests.sandbox.conftest import Shop

DAY = 24 * 3600


def types(sandbox: Sandbox) -> list[str]:
    return [event["type"] for event in sandbox.events]


def last(sandbox: Sandbox, type: str) -> dict[str, Any]:
    return next(event["data"] for event in reversed(sandbox.events) if event["type"] == type)


async def incomplete(client: stripe.StripeClient, shop: Shop, **params: Any) -> stripe.Subscription:
    defaults = {
        "customer": shop.customer,
        "items": [{"price": shop.monthly}],
        "payment_behavior": "default_incomplete",
        "payment_settings": {"save_default_payment_method": "on_subscription"},
        "metadata": {"account_uid": "u1"},
        "expand": ["latest_invoice.confirmation_secret", "latest_invoice.payments"],
    }
    return await client.v1.subscriptions.create_async({**defaults, **params})


async def active(
    sandbox: Sandbox,
    client: stripe.StripeClient,
    shop: Shop,
    card: str = "4242424242424242",
    **params: Any,
) -> str:
    subscription = await incomplete(client, shop, **params)
    sandbox.confirm_payment(subscription.latest_invoice.confirmation_secret.client_secret, card)
    return subscription.id


def saved_card(sandbox: Sandbox, customer: str, token: str = "pm_card_visa") -> str:
    method = sandbox.call("POST", f"/v1/payment_methods/{token}/attach", customer=customer)
    settings = {"default_payment_method": method["id"]}
    sandbox.call("POST", f"/v1/customers/{customer}", invoice_settings=settings)
    return str(method["id"])


@pytest.mark.gen_test
async def test_the_first_payment_activates(
    sandbox: Sandbox, client: stripe.StripeClient, shop: Shop
) -> None:
    subscription = await incomplete(client, shop)
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
    assert {"invoice.paid", "invoice.payment_succeeded"} <= set(types(sandbox))
    updated = last(sandbox, "customer.subscription.updated")
    assert updated["previous_attributes"]["status"] == "incomplete"


@pytest.mark.gen_test
async def test_a_first_payment_that_fails_leaves_it_incomplete(
    sandbox: Sandbox, client: stripe.StripeClient, shop: Shop
) -> None:
    subscription = await incomplete(client, shop)
    secret = subscription.latest_invoice.confirmation_secret.client_secret
    with pytest.raises(SandboxCardError):
        sandbox.confirm_payment(secret, "pm_card_chargeDeclined")
    assert sandbox.get(subscription.id)["status"] == "incomplete"
    assert types(sandbox)[-1] == "invoice.payment_failed"
    assert sandbox.get(subscription.latest_invoice.id)["attempt_count"] == 1

    sandbox.confirm_payment(secret, "pm_card_threeDSecure2Required")
    assert types(sandbox)[-1] == "invoice.payment_action_required"
    sandbox.authenticate(secret.split("_secret_")[0])
    assert sandbox.get(subscription.id)["status"] == "active"


@pytest.mark.gen_test
async def test_allow_incomplete_charges_at_once(
    sandbox: Sandbox, client: stripe.StripeClient, shop: Shop
) -> None:
    request: dict[str, Any] = {"customer": shop.customer, "items": [{"price": shop.monthly}]}
    with pytest.raises(stripe.InvalidRequestError, match="no attached payment source"):
        await client.v1.subscriptions.create_async(request)

    saved_card(sandbox, shop.customer)
    subscription = await client.v1.subscriptions.create_async(request)
    assert subscription.status == "active"
    assert types(sandbox)[-1] == "customer.subscription.created"
    assert last(sandbox, "customer.subscription.created")["object"]["status"] == "active"
    assert "customer.subscription.updated" not in types(sandbox)

    saved_card(sandbox, shop.customer, "pm_card_chargeCustomerFail")
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
async def test_a_trial_bills_nothing_until_it_ends(
    sandbox: Sandbox, client: stripe.StripeClient, shop: Shop
) -> None:
    subscription = await incomplete(
        client,
        shop,
        trial_period_days=14,
        expand=["pending_setup_intent", "latest_invoice"],
    )
    assert subscription.status == "trialing"
    assert (subscription.latest_invoice.total, subscription.latest_invoice.status) == (0, "paid")
    assert subscription.trial_end - subscription.trial_start == 14 * DAY

    setup = sandbox.confirm_setup(subscription.pending_setup_intent.client_secret)
    await client.v1.subscriptions.update_async(
        subscription.id, {"default_payment_method": setup["payment_method"]}
    )
    sandbox.renew(subscription.id)
    now = sandbox.get(subscription.id)
    assert now["status"] == "active"
    assert sandbox.get(now["latest_invoice"])["amount_paid"] == 2900


@pytest.mark.gen_test
async def test_a_renewal_bills_the_next_period(
    sandbox: Sandbox, client: stripe.StripeClient, shop: Shop
) -> None:
    subscription_id = await active(sandbox, client, shop)
    before = sandbox.get(subscription_id)
    sandbox.renew(subscription_id)
    after = sandbox.get(subscription_id)
    old, new = before["items"]["data"][0], after["items"]["data"][0]
    assert new["current_period_start"] == old["current_period_end"]
    assert after["status"] == "active"
    assert after["latest_invoice"] != before["latest_invoice"]
    assert last(sandbox, "invoice.paid")["object"]["billing_reason"] == "subscription_cycle"
    assert last(sandbox, "payment_intent.succeeded")["object"]["metadata"] == {}
    previous = last(sandbox, "customer.subscription.updated")["previous_attributes"]
    assert previous["latest_invoice"] == before["latest_invoice"]
    assert previous["items"]["data"][0]["current_period_end"] == old["current_period_end"]
    assert sandbox.events[-1]["request"] == {"id": None, "idempotency_key": None}


@pytest.mark.gen_test
async def test_a_failed_renewal_is_past_due_until_paid(
    sandbox: Sandbox, client: stripe.StripeClient, shop: Shop
) -> None:
    subscription_id = await active(sandbox, client, shop)
    sandbox.renew(subscription_id, fail=True)
    subscription = sandbox.get(subscription_id)
    assert subscription["status"] == "past_due"
    invoice = sandbox.get(subscription["latest_invoice"])
    assert (invoice["status"], invoice["attempt_count"]) == ("open", 1)
    assert invoice["next_payment_attempt"] is not None
    assert {"charge.failed", "invoice.payment_failed"} <= set(types(sandbox))
    updated = last(sandbox, "customer.subscription.updated")
    assert updated["previous_attributes"] == {"status": "active"}

    paid = sandbox.pay_invoice(invoice["id"], "5555555555554444")
    assert (paid["status"], paid["attempt_count"]) == ("paid", 2)
    assert sandbox.get(subscription_id)["status"] == "active"
    with pytest.raises(StripeError, match="succeeded"):
        sandbox.pay_invoice(invoice["id"])


@pytest.mark.gen_test
async def test_a_card_that_fails_when_charged_later_fails_the_renewal(
    sandbox: Sandbox, client: stripe.StripeClient, shop: Shop
) -> None:
    subscription_id = await active(sandbox, client, shop, "4000000000000341")
    assert sandbox.get(subscription_id)["status"] == "active"
    assert sandbox.renew(subscription_id)["status"] == "past_due"


@pytest.mark.gen_test
async def test_a_card_that_was_set_up_renews_without_its_holder(
    sandbox: Sandbox, client: stripe.StripeClient, shop: Shop
) -> None:
    subscription = await incomplete(client, shop)
    secret = subscription.latest_invoice.confirmation_secret.client_secret
    intent = sandbox.confirm_payment(secret, "4000002500003155")
    sandbox.authenticate(intent["id"])
    assert sandbox.renew(subscription.id)["status"] == "active"


@pytest.mark.gen_test
async def test_a_renewal_without_a_saved_card_fails(
    sandbox: Sandbox, client: stripe.StripeClient, shop: Shop
) -> None:
    subscription_id = await active(
        sandbox, client, shop, payment_settings={"save_default_payment_method": "off"}
    )
    assert sandbox.renew(subscription_id)["status"] == "past_due"
    assert sandbox.get(subscription_id)["default_payment_method"] is None


@pytest.mark.gen_test
async def test_a_cancellation_is_scheduled_and_taken_back_and_comes(
    sandbox: Sandbox, client: stripe.StripeClient, shop: Shop
) -> None:
    subscription_id = await active(sandbox, client, shop)
    subscriptions = client.v1.subscriptions
    scheduled = await subscriptions.update_async(subscription_id, {"cancel_at_period_end": True})
    end = sandbox.get(subscription_id)["items"]["data"][0]["current_period_end"]
    assert (scheduled.status, scheduled.cancel_at) == ("active", end)
    assert scheduled.cancellation_details.reason == "cancellation_requested"
    previous = last(sandbox, "customer.subscription.updated")["previous_attributes"]
    assert previous == {
        "cancel_at": None,
        "cancel_at_period_end": False,
        "canceled_at": None,
        "cancellation_details": {"reason": None},
    }
    kept = await subscriptions.update_async(subscription_id, {"cancel_at_period_end": False})
    assert (kept.cancel_at, kept.canceled_at, kept.cancellation_details.reason) == (None,) * 3

    sandbox.cancel_subscription(subscription_id, now=False)
    ended = sandbox.renew(subscription_id)
    assert (ended["status"], ended["ended_at"]) == ("canceled", end)
    assert types(sandbox)[-1] == "customer.subscription.deleted"
    with pytest.raises(stripe.InvalidRequestError) as caught:
        await subscriptions.update_async(subscription_id, {"cancel_at_period_end": False})
    assert caught.value.code == "invalid_canceled_subscription_fields"
    with pytest.raises(stripe.InvalidRequestError) as caught:
        await subscriptions.cancel_async(subscription_id)
    assert caught.value.code == "resource_missing"
    with pytest.raises(StripeError, match="does not renew"):
        sandbox.renew(subscription_id)


@pytest.mark.gen_test
async def test_canceling_now(sandbox: Sandbox, client: stripe.StripeClient, shop: Shop) -> None:
    subscription_id = await active(sandbox, client, shop)
    sandbox.renew(subscription_id, fail=True)
    canceled = await client.v1.subscriptions.cancel_async(
        subscription_id, {"cancellation_details": {"feedback": "unused", "comment": "bye"}}
    )
    assert (canceled.status, canceled.cancellation_details.feedback) == ("canceled", "unused")
    assert canceled.ended_at is not None
    invoice = sandbox.get(canceled.latest_invoice)
    assert (invoice["status"], invoice["next_payment_attempt"]) == ("open", None)


@pytest.mark.gen_test
async def test_canceling_an_incomplete_one_voids_its_invoice(
    sandbox: Sandbox, client: stripe.StripeClient, shop: Shop
) -> None:
    subscription = await incomplete(client, shop)
    assert sandbox.cancel_subscription(subscription.id)["status"] == "incomplete_expired"
    assert sandbox.get(subscription.latest_invoice.id)["status"] == "void"
    assert types(sandbox)[-2:] == ["invoice.voided", "payment_intent.canceled"]
    with pytest.raises(StripeError, match="canceled"):
        sandbox.confirm_payment(subscription.latest_invoice.confirmation_secret.client_secret)


@pytest.mark.gen_test
async def test_time_brings_what_is_due(
    sandbox: Sandbox, client: stripe.StripeClient, shop: Shop
) -> None:
    renewing = await active(sandbox, client, shop)
    ending = await active(sandbox, client, shop)
    sandbox.cancel_subscription(ending, now=False)
    waiting = (await incomplete(client, shop)).id

    assert sandbox.advance(22 * 3600) == []
    assert sandbox.advance(2 * 3600) == [waiting]
    assert sandbox.get(waiting)["status"] == "incomplete_expired"
    assert set(sandbox.advance(31 * DAY)) == {renewing, ending}
    assert sandbox.get(ending)["status"] == "canceled"
    assert sandbox.get(renewing)["status"] == "active"
    end = sandbox.get(renewing)["items"]["data"][0]["current_period_end"]
    assert end > sandbox.clock()
    assert sandbox.events[-1]["created"] == int(sandbox.clock())
    with pytest.raises(ValueError, match="forward"):
        sandbox.advance(-1)


@pytest.mark.gen_test
async def test_the_price_is_changed(
    sandbox: Sandbox, client: stripe.StripeClient, shop: Shop
) -> None:
    subscription_id = await active(sandbox, client, shop)
    item = sandbox.get(subscription_id)["items"]["data"][0]["id"]
    dearer = sandbox.create_price(
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
            subscription_id, {"items": [{"id": "si_none", "price": dearer}]}
        )
    await subscriptions.update_async(
        subscription_id, {"items": [{"id": item, "price": dearer}], "proration_behavior": "none"}
    )
    sandbox.renew(subscription_id)
    assert last(sandbox, "invoice.paid")["object"]["total"] == 4900


@pytest.mark.gen_test
async def test_an_item_carries_its_price_as_it_is_now(
    sandbox: Sandbox, client: stripe.StripeClient, shop: Shop
) -> None:
    subscription_id = await active(sandbox, client, shop)
    sandbox.update_price(shop.monthly, nickname="Pro")
    subscription = await client.v1.subscriptions.retrieve_async(subscription_id)
    assert subscription["items"].data[0].price.nickname == "Pro"


@pytest.mark.gen_test
async def test_what_cannot_be_subscribed_to(
    sandbox: Sandbox, client: stripe.StripeClient, shop: Shop
) -> None:
    with pytest.raises(stripe.InvalidRequestError, match="type=one_time"):
        await incomplete(client, shop, items=[{"price": shop.price}])
    sandbox.update_price(shop.monthly, active=False)
    with pytest.raises(stripe.InvalidRequestError, match="inactive"):
        await incomplete(client, shop)
    with pytest.raises(stripe.InvalidRequestError) as caught:
        await incomplete(client, shop, customer="cus_none")
    assert (caught.value.http_status, caught.value.param) == (400, "customer")
    foreign = sandbox.call(
        "POST",
        "/v1/payment_methods/pm_card_visa/attach",
        customer=sandbox.create_customer()["id"],
    )
    sandbox.update_price(shop.monthly, active=True)
    with pytest.raises(stripe.InvalidRequestError, match="does not have a payment method"):
        await incomplete(client, shop, default_payment_method=foreign["id"])


@pytest.mark.gen_test
async def test_subscriptions_and_invoices_are_listed(
    sandbox: Sandbox, client: stripe.StripeClient, shop: Shop
) -> None:
    ended = await active(sandbox, client, shop)
    sandbox.cancel_subscription(ended)
    current = await active(sandbox, client, shop)
    waiting = (await incomplete(client, shop)).id

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
async def test_an_invoice_is_paid_through_the_api(
    sandbox: Sandbox, client: stripe.StripeClient, shop: Shop
) -> None:
    subscription = await incomplete(client, shop)
    invoice_id = subscription.latest_invoice.id
    with pytest.raises(stripe.InvalidRequestError, match="no attached payment source"):
        await client.v1.invoices.pay_async(invoice_id)
    method = saved_card(sandbox, shop.customer)
    paid = await client.v1.invoices.pay_async(invoice_id, {"payment_method": method})
    assert paid.status == "paid"
    assert sandbox.get(subscription.id)["status"] == "active"
    with pytest.raises(stripe.InvalidRequestError) as caught:
        await client.v1.invoices.pay_async(invoice_id)
    assert caught.value.code == "invoice_already_paid"


@pytest.mark.parametrize(
    ("start", "recurring", "end"),
    [
        ("2026-01-31", ("month", 1), "2026-02-28"),
        ("2026-02-28", ("month", 1), "2026-03-31"),
        ("2026-12-31", ("month", 2), "2027-02-28"),
        ("2026-01-31", ("year", 1), "2027-01-31"),
        ("2026-01-31", ("week", 2), "2026-02-14"),
        ("2026-01-31", ("day", 1), "2026-02-01"),
    ],
)
def test_periods_keep_the_day_of_their_anchor(
    start: str, recurring: tuple[str, int], end: str
) -> None:
    anchor = _epoch("2026-01-31")
    named = {"interval": recurring[0], "interval_count": recurring[1]}
    assert period_end(anchor, _epoch(start), named) == _epoch(end)


def _epoch(day: str) -> int:
    return int(datetime.fromisoformat(day).replace(tzinfo=UTC).timestamp())
