"""Renewal and expiry of subscriptions."""

import pytest
import stripe

from datalayer_stripe.sandbox import Sandbox, StripeError
from tests.sandbox.conftest import Shop, event_types, last_event_data
from tests.sandbox.creation import create_active, create_incomplete

DAY = 24 * 3600


@pytest.mark.gen_test
async def test_trial_is_free_until_it_ends(
    sandbox: Sandbox, client: stripe.StripeClient, shop: Shop
) -> None:
    subscription = await create_incomplete(
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
async def test_renewal_bills_next_period(
    sandbox: Sandbox, client: stripe.StripeClient, shop: Shop
) -> None:
    subscription_id = await create_active(sandbox, client, shop)
    before = sandbox.get(subscription_id)
    sandbox.renew(subscription_id)
    after = sandbox.get(subscription_id)
    old, new = before["items"]["data"][0], after["items"]["data"][0]
    assert new["current_period_start"] == old["current_period_end"]
    assert after["status"] == "active"
    assert after["latest_invoice"] != before["latest_invoice"]
    assert (
        last_event_data(sandbox, "invoice.paid")["object"]["billing_reason"] == "subscription_cycle"
    )
    assert last_event_data(sandbox, "payment_intent.succeeded")["object"]["metadata"] == {}
    previous = last_event_data(sandbox, "customer.subscription.updated")["previous_attributes"]
    assert previous["latest_invoice"] == before["latest_invoice"]
    assert previous["items"]["data"][0]["current_period_end"] == old["current_period_end"]
    assert sandbox.events[-1]["request"] == {"id": None, "idempotency_key": None}


@pytest.mark.gen_test
async def test_subscription_is_past_due_until_failed_renewal_is_paid(
    sandbox: Sandbox, client: stripe.StripeClient, shop: Shop
) -> None:
    subscription_id = await create_active(sandbox, client, shop)
    sandbox.renew(subscription_id, fail=True)
    subscription = sandbox.get(subscription_id)
    assert subscription["status"] == "past_due"
    invoice = sandbox.get(subscription["latest_invoice"])
    assert (invoice["status"], invoice["attempt_count"]) == ("open", 1)
    assert invoice["next_payment_attempt"] is not None
    assert {"charge.failed", "invoice.payment_failed"} <= set(event_types(sandbox))
    updated = last_event_data(sandbox, "customer.subscription.updated")
    assert updated["previous_attributes"] == {"status": "active"}

    paid = sandbox.pay_invoice(invoice["id"], "5555555555554444")
    assert (paid["status"], paid["attempt_count"]) == ("paid", 2)
    assert sandbox.get(subscription_id)["status"] == "active"
    with pytest.raises(StripeError, match="succeeded"):
        sandbox.pay_invoice(invoice["id"])


@pytest.mark.gen_test
async def test_renewal_fails_if_card_is_declined_once_attached(
    sandbox: Sandbox, client: stripe.StripeClient, shop: Shop
) -> None:
    subscription_id = await create_active(sandbox, client, shop, "4000000000000341")
    assert sandbox.get(subscription_id)["status"] == "active"
    assert sandbox.renew(subscription_id)["status"] == "past_due"


@pytest.mark.gen_test
async def test_renewal_with_authenticated_card_succeeds_off_session(
    sandbox: Sandbox, client: stripe.StripeClient, shop: Shop
) -> None:
    subscription = await create_incomplete(client, shop)
    secret = subscription.latest_invoice.confirmation_secret.client_secret
    intent = sandbox.confirm_payment(secret, "4000002500003155")
    sandbox.authenticate(intent["id"])
    assert sandbox.renew(subscription.id)["status"] == "active"


@pytest.mark.gen_test
async def test_renewal_without_saved_card_fails(
    sandbox: Sandbox, client: stripe.StripeClient, shop: Shop
) -> None:
    subscription_id = await create_active(
        sandbox, client, shop, payment_settings={"save_default_payment_method": "off"}
    )
    assert sandbox.renew(subscription_id)["status"] == "past_due"
    assert sandbox.get(subscription_id)["default_payment_method"] is None


@pytest.mark.gen_test
async def test_advancing_clock_renews_cancels_and_expires_due_subscriptions(
    sandbox: Sandbox, client: stripe.StripeClient, shop: Shop
) -> None:
    renewing = await create_active(sandbox, client, shop)
    ending = await create_active(sandbox, client, shop)
    sandbox.cancel_subscription(ending, now=False)
    waiting = (await create_incomplete(client, shop)).id

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
async def test_subscription_is_canceled_at_a_given_time(
    sandbox: Sandbox, client: stripe.StripeClient, shop: Shop
) -> None:
    early = await create_active(sandbox, client, shop)
    late = await create_active(sandbox, client, shop)
    kept = await create_active(sandbox, client, shop)
    now = int(sandbox.clock())
    update = client.v1.subscriptions.update_async
    changed = await update(early, {"cancel_at": now + 10 * DAY})
    assert (changed.cancel_at, changed.cancel_at_period_end) == (now + 10 * DAY, False)
    assert changed.canceled_at is not None
    await update(late, {"cancel_at": now + 40 * DAY})
    await update(kept, {"cancel_at": now + 10 * DAY})
    assert (await update(kept, {"cancel_at": ""})).canceled_at is None

    assert sandbox.advance(11 * DAY) == [early]
    ended = sandbox.get(early)
    assert (ended["status"], ended["ended_at"]) == ("canceled", now + 10 * DAY)
    assert set(sandbox.advance(35 * DAY)) == {late, kept}
    assert sandbox.get(late)["status"] == "canceled"
    assert sandbox.get(late)["ended_at"] == now + 40 * DAY
    assert sandbox.get(kept)["status"] == "active"
    bills = [obj["billing_reason"] for obj in sandbox.objects if obj["object"] == "invoice"]
    assert bills.count("subscription_cycle") == 2, "of `late` and of `kept`, in the second month"
