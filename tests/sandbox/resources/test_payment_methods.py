"""Payment methods."""

import pytest
import stripe

from datalayer_stripe.sandbox import Sandbox
from tests.sandbox.conftest import Shop, event_types


@pytest.mark.gen_test
async def test_payment_method_is_attached_and_detached(
    sandbox: Sandbox, client: stripe.StripeClient, shop: Shop
) -> None:
    methods = client.v1.payment_methods
    created = await methods.create_async(
        {
            "type": "card",
            "card": {"number": "5555555555554444", "exp_month": 1, "exp_year": 2039, "cvc": "1"},
            "billing_details": {"name": "Ada", "address": {"country": "GB"}},
        }
    )
    assert (created.card.brand, created.card.exp_year, created.customer) == (
        "mastercard",
        2039,
        None,
    )
    assert created.billing_details.address.country == "GB"
    attached = await methods.attach_async(created.id, {"customer": shop.customer})
    assert attached.customer == shop.customer
    other = sandbox.create_customer()["id"]
    with pytest.raises(stripe.InvalidRequestError, match="already been attached"):
        await methods.attach_async(created.id, {"customer": other})
    listed = await methods.list_async({"customer": shop.customer, "type": "card"})
    assert [method.id for method in listed.data] == [created.id]
    with pytest.raises(stripe.CardError):
        await methods.attach_async("pm_card_chargeDeclined", {"customer": shop.customer})
    detached = await methods.detach_async(created.id)
    assert detached.customer is None
    assert event_types(sandbox)[-1] == "payment_method.detached"
    with pytest.raises(stripe.InvalidRequestError, match="not attached"):
        await methods.detach_async(created.id)


@pytest.mark.gen_test
async def test_payment_method_of_another_customer_is_rejected(
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
async def test_payment_method_is_created_from_a_token_and_updated(
    sandbox: Sandbox, client: stripe.StripeClient, shop: Shop
) -> None:
    methods = client.v1.payment_methods
    created = await methods.create_async({"type": "card", "card": {"token": "tok_chargeDeclined"}})
    assert created.card.last4 == "0002"
    with pytest.raises(stripe.InvalidRequestError, match="save this PaymentMethod"):
        await methods.update_async(created.id, {"metadata": {"a": "1"}})
    for token in ("tok_none", "pm_card_visa"):
        with pytest.raises(stripe.InvalidRequestError) as caught:
            await methods.create_async({"type": "card", "card": {"token": token}})
        assert caught.value.param == "card[token]"

    attached = await methods.attach_async("pm_card_visa", {"customer": shop.customer})
    changed = await methods.update_async(
        attached.id,
        {"card": {"exp_year": 2041}, "billing_details": {"name": "Ada"}, "metadata": {"a": "1"}},
    )
    assert (changed.card.exp_year, changed.card.last4) == (2041, "4242")
    assert (changed.billing_details.name, changed.metadata["a"]) == ("Ada", "1")
    assert event_types(sandbox)[-1] == "payment_method.updated"
    await methods.update_async(attached.id, {"allow_redisplay": "always"})
    for filter, expected in (("always", [attached.id]), ("limited", [])):
        listed = await methods.list_async({"customer": shop.customer, "allow_redisplay": filter})
        assert [method.id for method in listed.data] == expected
