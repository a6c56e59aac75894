"""PaymentIntents, charges and refunds, through the stock SDK."""

from typing import Any

import pytest
import stripe

from datalayer_stripe.sandbox import Sandbox, SandboxCardError, StripeError
from tests.sandbox.conftest import Shop

NO_REDIRECTS = {"enabled": True, "allow_redirects": "never"}


def types(sandbox: Sandbox) -> list[str]:
    return [event["type"] for event in sandbox.events]


async def new_intent(client: stripe.StripeClient, **params: Any) -> stripe.PaymentIntent:
    defaults = {"amount": 500, "currency": "usd", "automatic_payment_methods": NO_REDIRECTS}
    return await client.v1.payment_intents.create_async({**defaults, **params})


@pytest.mark.gen_test
async def test_a_payment_succeeds(
    sandbox: Sandbox, client: stripe.StripeClient, shop: Shop
) -> None:
    intent = await new_intent(client, customer=shop.customer, metadata={"credits": "50"})
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
    assert types(sandbox)[-3:] == [
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
async def test_a_card_is_declined(
    sandbox: Sandbox, client: stripe.StripeClient, card: str, code: str, decline_code: str | None
) -> None:
    intent = await new_intent(client)
    data = {"payment_method": card} if card.startswith("pm_") else _number(card)
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
    assert types(sandbox)[-2:] == ["charge.failed", "payment_intent.payment_failed"]

    assert sandbox.confirm_payment(intent.id)["status"] == "succeeded"


@pytest.mark.gen_test
async def test_a_number_that_is_no_test_card_is_refused(
    sandbox: Sandbox, client: stripe.StripeClient
) -> None:
    intent = await new_intent(client)
    with pytest.raises(SandboxCardError) as wrong:
        sandbox.confirm_payment(intent.client_secret, "4242424242424241")
    assert wrong.value.code == "incorrect_number"
    with pytest.raises(SandboxCardError) as real:
        sandbox.confirm_payment(intent.client_secret, "4012888888881881")
    assert real.value.decline_code == "test_mode_live_card"
    assert sandbox.get(intent.id)["status"] == "requires_payment_method"


@pytest.mark.gen_test
@pytest.mark.parametrize("card", ["4000002500003155", "4000000000003220", "4000002760003184"])
async def test_authentication_is_accepted(
    sandbox: Sandbox, client: stripe.StripeClient, card: str
) -> None:
    intent = await new_intent(client)
    waiting = sandbox.confirm_payment(intent.client_secret, card)
    assert waiting["status"] == "requires_action"
    assert waiting["next_action"]["type"] == "use_stripe_sdk"
    assert types(sandbox)[-1] == "payment_intent.requires_action"

    paid = sandbox.authenticate(intent.id)
    assert (paid["status"], paid["next_action"]) == ("succeeded", None)
    card_details = sandbox.get(paid["latest_charge"])["payment_method_details"]["card"]
    assert card_details["three_d_secure"]["result"] == "authenticated"


@pytest.mark.gen_test
async def test_authentication_is_refused(sandbox: Sandbox, client: stripe.StripeClient) -> None:
    intent = await new_intent(client)
    sandbox.confirm_payment(intent.client_secret, "pm_card_authenticationRequired")
    refused = sandbox.authenticate(intent.id, accept=False)
    assert refused["status"] == "requires_payment_method"
    assert refused["last_payment_error"]["code"] == "payment_intent_authentication_failure"
    assert refused["latest_charge"] is None
    assert types(sandbox)[-1] == "payment_intent.payment_failed"


@pytest.mark.gen_test
async def test_authentication_redirects_when_a_return_url_is_given(
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
async def test_a_card_that_asks_is_declined_without_its_holder(
    client: stripe.StripeClient, shop: Shop
) -> None:
    with pytest.raises(stripe.CardError) as caught:
        await new_intent(
            client,
            customer=shop.customer,
            payment_method="pm_card_authenticationRequired",
            off_session=True,
            confirm=True,
        )
    assert caught.value.code == "authentication_required"


@pytest.mark.gen_test
async def test_confirming_on_the_server_needs_a_return_url_or_no_redirects(
    client: stripe.StripeClient,
) -> None:
    with pytest.raises(stripe.InvalidRequestError, match="return_url"):
        await client.v1.payment_intents.create_async(
            {"amount": 500, "currency": "usd", "confirm": True, "payment_method": "pm_card_visa"}
        )


@pytest.mark.gen_test
async def test_states_forbid_what_they_forbid(
    sandbox: Sandbox, client: stripe.StripeClient
) -> None:
    intents = client.v1.payment_intents
    intent = await new_intent(client)
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
async def test_a_payment_is_changed_and_canceled(
    sandbox: Sandbox, client: stripe.StripeClient, shop: Shop
) -> None:
    intents = client.v1.payment_intents
    intent = await new_intent(client, metadata={"a": "1", "b": "2"})
    changed = await intents.update_async(
        intent.id, {"amount": 700, "customer": shop.customer, "metadata": {"a": "", "c": "3"}}
    )
    assert (changed.amount, changed.customer) == (700, shop.customer)
    assert changed.metadata.to_dict() == {"b": "2", "c": "3"}
    canceled = await intents.cancel_async(intent.id, {"cancellation_reason": "abandoned"})
    assert (canceled.status, canceled.cancellation_reason) == ("canceled", "abandoned")
    assert types(sandbox)[-1] == "payment_intent.canceled"
    with pytest.raises(StripeError, match="status of canceled"):
        sandbox.confirm_payment(intent.id)


@pytest.mark.gen_test
async def test_amounts_are_checked(client: stripe.StripeClient) -> None:
    for amount, code in ((0, "parameter_invalid_integer"), (49, "amount_too_small")):
        with pytest.raises(stripe.InvalidRequestError) as caught:
            await new_intent(client, amount=amount)
        assert (caught.value.code, caught.value.param) == (code, "amount")
    with pytest.raises(stripe.InvalidRequestError) as caught:
        await new_intent(client, amount=100_000_000)
    assert caught.value.code == "amount_too_large"


@pytest.mark.gen_test
async def test_refunds_in_part_then_in_full(sandbox: Sandbox, client: stripe.StripeClient) -> None:
    intent = await new_intent(client, confirm=True, payment_method="pm_card_visa")
    refunds = client.v1.refunds
    part = await refunds.create_async({"payment_intent": intent.id, "amount": 200})
    assert (part.amount, part.status) == (200, "succeeded")
    charge = sandbox.get(intent.latest_charge)
    assert (charge["amount_refunded"], charge["refunded"]) == (200, False)
    assert types(sandbox)[-3:] == ["refund.created", "charge.refunded", "refund.updated"]
    assert sandbox.events[-2]["data"]["previous_attributes"] == {"amount_refunded": 0}

    with pytest.raises(stripe.InvalidRequestError, match="greater than"):
        await refunds.create_async({"payment_intent": intent.id, "amount": 301})
    rest = sandbox.refund(intent.id)
    assert rest["amount"] == 300
    assert sandbox.get(intent.latest_charge)["refunded"] is True
    with pytest.raises(stripe.InvalidRequestError) as caught:
        await refunds.create_async({"charge": intent.latest_charge})
    assert caught.value.code == "charge_already_refunded"
    listed = await refunds.list_async({"payment_intent": intent.id})
    assert [refund.amount for refund in listed.data] == [300, 200]
    with_refunds = await client.v1.charges.retrieve_async(
        intent.latest_charge, {"expand": ["refunds"]}
    )
    assert len(with_refunds.refunds.data) == 2


@pytest.mark.gen_test
async def test_an_unpaid_payment_cannot_be_refunded(client: stripe.StripeClient) -> None:
    intent = await new_intent(client)
    with pytest.raises(stripe.InvalidRequestError, match="successful charge"):
        await client.v1.refunds.create_async({"payment_intent": intent.id})


@pytest.mark.gen_test
async def test_payments_and_charges_are_listed_by_customer(
    sandbox: Sandbox, client: stripe.StripeClient, shop: Shop
) -> None:
    await new_intent(client)
    mine = await new_intent(client, customer=shop.customer)
    sandbox.confirm_payment(mine.id)
    intents = await client.v1.payment_intents.list_async({"customer": shop.customer})
    assert [intent.id for intent in intents.data] == [mine.id]
    charges = await client.v1.charges.list_async({"payment_intent": mine.id})
    assert [charge.payment_intent for charge in charges.data] == [mine.id]


def _number(card: str) -> dict[str, Any]:
    return {"payment_method_data": {"type": "card", "card": {"number": card}}}


@pytest.mark.gen_test
async def test_what_was_paid_since_a_moment_is_found_by_customer(
    sandbox: Sandbox, client: stripe.StripeClient, shop: Shop
) -> None:
    def pay(**params: Any) -> str:
        intent = sandbox.call("POST", "/v1/payment_intents", amount=500, currency="usd", **params)
        sandbox.confirm_payment(intent["id"])
        return str(intent["id"])

    pay(customer=shop.customer)
    sandbox.clock.advance(3600)
    since = {"gte": int(sandbox.clock())}
    wanted, other = pay(customer=shop.customer), pay()
    charges = await client.v1.charges.list_async(
        {"customer": shop.customer, "created": since, "limit": 100}
    )
    assert [charge.payment_intent for charge in charges.data] == [wanted]
    assert charges.data[0].receipt_url
    events = await client.v1.events.list_async(
        {"type": "payment_intent.succeeded", "created": since}
    )
    assert {event.data.object["id"] for event in events.data} == {wanted, other}
