"""PaymentIntents and charges, through the unmodified SDK."""

from typing import Any

import pytest
import stripe

from datalayer_stripe.sandbox import Sandbox, SandboxCardError, StripeError
from tests.sandbox.conftest import Shop, event_types, pay
from tests.sandbox.creation import create_intent


@pytest.mark.gen_test
async def test_payment_succeeds(sandbox: Sandbox, client: stripe.StripeClient, shop: Shop) -> None:
    intent = await create_intent(client, customer=shop.customer, metadata={"credits": "50"})
    assert intent.status == "requires_payment_method"
    assert intent.client_secret.startswith(f"{intent.id}_secret_")

    sandbox.confirm_payment(intent.client_secret)

    paid = await client.v1.payment_intents.retrieve_async(
        intent.id, {"expand": ["latest_charge", "customer", "payment_method"]}
    )
    assert (paid.status, paid.amount_received) == ("succeeded", 500)
    assert paid.latest_charge.paid
    assert paid.latest_charge.metadata["credits"] == "50"
    assert paid.customer.email == "ada@example.com"
    assert paid.payment_method.card.last4 == "4242"
    assert event_types(sandbox)[-3:] == [
        "payment_intent.created",
        "charge.succeeded",
        "payment_intent.succeeded",
    ]


@pytest.mark.gen_test
@pytest.mark.parametrize(
    ("card", "code", "decline_code"),
    [
        ("4000000000000002", "card_declined", "generic_decline"),
        ("pm_card_chargeDeclined", "card_declined", "generic_decline"),
        ("4000000000009995", "card_declined", "insufficient_funds"),
        ("pm_card_visa_chargeDeclinedInsufficientFunds", "card_declined", "insufficient_funds"),
        ("pm_card_chargeDeclinedInsufficientFunds", "card_declined", "insufficient_funds"),
        ("4000000000000069", "expired_card", None),
        ("4000000000000127", "incorrect_cvc", None),
        ("4000000000000119", "processing_error", None),
    ],
)
async def test_declined_card_leaves_intent_payable(
    sandbox: Sandbox, client: stripe.StripeClient, card: str, code: str, decline_code: str | None
) -> None:
    intent = await create_intent(client)
    data = {"payment_method": card} if card.startswith("pm_") else _card_params(card)
    with pytest.raises(stripe.CardError) as caught:
        await client.v1.payment_intents.confirm_async(intent.id, data)
    error = caught.value
    assert (error.http_status, error.code, error.error.decline_code) == (402, code, decline_code)
    assert error.error.payment_intent.id == intent.id

    declined = sandbox.get(intent.id)
    assert declined["status"] == "requires_payment_method"
    assert declined["payment_method"] is None
    assert declined["last_payment_error"]["code"] == code
    assert declined["amount_received"] == 0
    assert sandbox.get(declined["latest_charge"])["status"] == "failed"
    assert event_types(sandbox)[-2:] == ["charge.failed", "payment_intent.payment_failed"]

    assert sandbox.confirm_payment(intent.id)["status"] == "succeeded"


@pytest.mark.gen_test
async def test_number_of_unknown_card_is_rejected(
    sandbox: Sandbox, client: stripe.StripeClient
) -> None:
    intent = await create_intent(client)
    with pytest.raises(SandboxCardError) as wrong:
        sandbox.confirm_payment(intent.client_secret, "4242424242424241")
    assert wrong.value.code == "incorrect_number"
    with pytest.raises(SandboxCardError) as real:
        sandbox.confirm_payment(intent.client_secret, "4012888888881881")
    assert real.value.decline_code == "test_mode_live_card"
    assert sandbox.get(intent.id)["status"] == "requires_payment_method"


@pytest.mark.gen_test
@pytest.mark.parametrize("card", ["4000002500003155", "4000000000003220", "4000002760003184"])
async def test_payment_succeeds_after_accepted_authentication(
    sandbox: Sandbox, client: stripe.StripeClient, card: str
) -> None:
    intent = await create_intent(client)
    waiting = sandbox.confirm_payment(intent.client_secret, card)
    assert waiting["status"] == "requires_action"
    assert waiting["next_action"]["type"] == "use_stripe_sdk"
    assert event_types(sandbox)[-1] == "payment_intent.requires_action"

    paid = sandbox.authenticate(intent.id)
    assert (paid["status"], paid["next_action"]) == ("succeeded", None)
    card_details = sandbox.get(paid["latest_charge"])["payment_method_details"]["card"]
    assert card_details["three_d_secure"]["result"] == "authenticated"


@pytest.mark.gen_test
async def test_payment_fails_after_rejected_authentication(
    sandbox: Sandbox, client: stripe.StripeClient
) -> None:
    intent = await create_intent(client)
    sandbox.confirm_payment(intent.client_secret, "pm_card_authenticationRequired")
    refused = sandbox.authenticate(intent.id, accept=False)
    assert refused["status"] == "requires_payment_method"
    assert refused["last_payment_error"]["code"] == "payment_intent_authentication_failure"
    assert refused["latest_charge"] is None
    assert event_types(sandbox)[-1] == "payment_intent.payment_failed"


@pytest.mark.gen_test
async def test_authentication_redirects_if_return_url_is_given(
    sandbox: Sandbox, client: stripe.StripeClient
) -> None:
    intent = await client.v1.payment_intents.create_async(
        {
            "amount": 500,
            "currency": "usd",
            "confirm": True,
            "payment_method": "pm_card_threeDSecure2Required",
            "return_url": "https://shop.example.com/done",
        }
    )
    assert intent.next_action.type == "redirect_to_url"
    assert intent.next_action.redirect_to_url.url.startswith(sandbox.url)


@pytest.mark.gen_test
async def test_off_session_payment_is_declined_if_card_requires_authentication(
    client: stripe.StripeClient, shop: Shop
) -> None:
    with pytest.raises(stripe.CardError) as caught:
        await create_intent(
            client,
            customer=shop.customer,
            payment_method="pm_card_authenticationRequired",
            off_session=True,
            confirm=True,
        )
    assert caught.value.code == "authentication_required"


@pytest.mark.gen_test
async def test_server_side_confirmation_requires_return_url_or_no_redirects(
    client: stripe.StripeClient,
) -> None:
    with pytest.raises(stripe.InvalidRequestError, match="return_url"):
        await client.v1.payment_intents.create_async(
            {"amount": 500, "currency": "usd", "confirm": True, "payment_method": "pm_card_visa"}
        )


@pytest.mark.gen_test
async def test_succeeded_intent_cannot_be_confirmed_canceled_or_repriced(
    sandbox: Sandbox, client: stripe.StripeClient
) -> None:
    intents = client.v1.payment_intents
    intent = await create_intent(client)
    with pytest.raises(stripe.InvalidRequestError, match="missing a payment method"):
        await intents.confirm_async(intent.id)

    sandbox.confirm_payment(intent.client_secret)
    for attempt in (
        intents.confirm_async(intent.id, {"payment_method": "pm_card_visa"}),
        intents.cancel_async(intent.id),
        intents.update_async(intent.id, {"amount": 600}),
    ):
        with pytest.raises(stripe.InvalidRequestError) as caught:
            await attempt
        assert caught.value.code == "payment_intent_unexpected_state"
        assert caught.value.error.payment_intent.id == intent.id
    labeled = await intents.update_async(intent.id, {"description": "paid"})
    assert labeled.description == "paid"


@pytest.mark.gen_test
async def test_intent_is_updated_and_canceled(
    sandbox: Sandbox, client: stripe.StripeClient, shop: Shop
) -> None:
    intents = client.v1.payment_intents
    intent = await create_intent(client, metadata={"a": "1", "b": "2"})
    changed = await intents.update_async(
        intent.id, {"amount": 700, "customer": shop.customer, "metadata": {"a": "", "c": "3"}}
    )
    assert (changed.amount, changed.customer) == (700, shop.customer)
    assert changed.metadata.to_dict() == {"b": "2", "c": "3"}
    canceled = await intents.cancel_async(intent.id, {"cancellation_reason": "abandoned"})
    assert (canceled.status, canceled.cancellation_reason) == ("canceled", "abandoned")
    assert event_types(sandbox)[-1] == "payment_intent.canceled"
    with pytest.raises(StripeError, match="status of canceled"):
        sandbox.confirm_payment(intent.id)


@pytest.mark.gen_test
async def test_invalid_amount_is_rejected(client: stripe.StripeClient) -> None:
    for amount, code in ((0, "parameter_invalid_integer"), (49, "amount_too_small")):
        with pytest.raises(stripe.InvalidRequestError) as caught:
            await create_intent(client, amount=amount)
        assert (caught.value.code, caught.value.param) == (code, "amount")
    with pytest.raises(stripe.InvalidRequestError) as caught:
        await create_intent(client, amount=100_000_000)
    assert caught.value.code == "amount_too_large"


@pytest.mark.gen_test
async def test_intents_and_charges_are_listed_by_customer(
    sandbox: Sandbox, client: stripe.StripeClient, shop: Shop
) -> None:
    await create_intent(client)
    mine = await create_intent(client, customer=shop.customer)
    sandbox.confirm_payment(mine.id)
    intents = await client.v1.payment_intents.list_async({"customer": shop.customer})
    assert [intent.id for intent in intents.data] == [mine.id]
    charges = await client.v1.charges.list_async({"payment_intent": mine.id})
    assert [charge.payment_intent for charge in charges.data] == [mine.id]


@pytest.mark.gen_test
async def test_charges_are_listed_by_customer_and_time(
    sandbox: Sandbox, client: stripe.StripeClient, shop: Shop
) -> None:
    def pay(**params: Any) -> str:
        intent = sandbox.call("POST", "/v1/payment_intents", amount=500, currency="usd", **params)
        sandbox.confirm_payment(intent["id"])
        return str(intent["id"])

    pay(customer=shop.customer)
    sandbox.clock.advance(3600)
    since = {"gte": int(sandbox.clock())}
    own, other = pay(customer=shop.customer), pay()
    charges = await client.v1.charges.list_async(
        {"customer": shop.customer, "created": since, "limit": 100}
    )
    assert [charge.payment_intent for charge in charges.data] == [own]
    assert charges.data[0].receipt_url
    events = await client.v1.events.list_async(
        {"type": "payment_intent.succeeded", "created": since}
    )
    assert {event.data.object["id"] for event in events.data} == {own, other}


def _card_params(card: str) -> dict[str, Any]:
    return {"payment_method_data": {"type": "card", "card": {"number": card}}}


@pytest.mark.gen_test
async def test_shipping_is_kept_and_copied_to_the_charge(
    sandbox: Sandbox, client: stripe.StripeClient
) -> None:
    shipping = {"name": "Ada", "address": {"line1": "1 Main St", "city": "London"}}
    intent = await create_intent(
        client,
        shipping=shipping,
        transfer_group="orders",
        payment_method_options={"card": {"request_three_d_secure": "any"}},
    )
    assert intent.shipping.to_dict() == shipping
    assert intent.payment_method_options.card.request_three_d_secure == "any"
    changed = await client.v1.payment_intents.update_async(
        intent.id, {"shipping": {"tracking_number": "T1"}, "setup_future_usage": ""}
    )
    assert (changed.shipping.tracking_number, changed.shipping.name) == ("T1", "Ada")
    paid = sandbox.confirm_payment(intent.client_secret)
    assert paid["transfer_group"] == "orders"
    assert sandbox.get(paid["latest_charge"])["shipping"]["name"] == "Ada"


@pytest.mark.gen_test
async def test_confirmation_with_the_secret_key_keeps_the_client_secret(
    client: stripe.StripeClient,
) -> None:
    intent = await create_intent(client)
    paid = await client.v1.payment_intents.confirm_async(
        intent.id, {"payment_method": "pm_card_visa", "client_secret": "other"}
    )
    assert (paid.status, paid.client_secret) == ("succeeded", intent.client_secret)


@pytest.mark.gen_test
async def test_payment_can_fail_instead_of_requiring_authentication(
    client: stripe.StripeClient,
) -> None:
    with pytest.raises(stripe.CardError) as caught:
        await create_intent(
            client,
            payment_method="pm_card_authenticationRequired",
            confirm=True,
            error_on_requires_action=True,
        )
    assert caught.value.code == "authentication_required"


@pytest.mark.gen_test
async def test_charges_are_listed_by_transfer_group(
    sandbox: Sandbox, client: stripe.StripeClient
) -> None:
    pay(sandbox)
    intent = await create_intent(
        client,
        transfer_group="a",
        statement_descriptor_suffix="CREDITS",
        capture_method="automatic",
    )
    sandbox.confirm_payment(intent.client_secret)
    (charge,) = (await client.v1.charges.list_async({"transfer_group": "a"})).data
    assert (charge.payment_intent, charge.statement_descriptor_suffix) == (intent.id, "CREDITS")
