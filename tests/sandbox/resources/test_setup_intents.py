"""SetupIntents, which save a card without a payment."""

import pytest
import stripe

from datalayer_stripe.sandbox import Sandbox, SandboxCardError
from tests.sandbox.conftest import Shop, event_types


@pytest.mark.gen_test
async def test_setup_intent_saves_card(
    sandbox: Sandbox, client: stripe.StripeClient, shop: Shop
) -> None:
    setups = client.v1.setup_intents
    setup = await setups.create_async({"customer": shop.customer, "metadata": {"a": "1"}})
    assert setup.status == "requires_payment_method"
    done = sandbox.confirm_setup(setup.client_secret)
    assert done["status"] == "succeeded"
    assert sandbox.get(done["payment_method"])["customer"] == shop.customer
    assert event_types(sandbox)[-3:] == [
        "setup_intent.created",
        "payment_method.attached",
        "setup_intent.succeeded",
    ]
    with pytest.raises(stripe.InvalidRequestError) as caught:
        await setups.cancel_async(setup.id)
    assert caught.value.code == "setup_intent_unexpected_state"
    listed = await setups.list_async({"customer": shop.customer})
    assert [intent.id for intent in listed.data] == [setup.id]


@pytest.mark.gen_test
async def test_setup_intent_fails_or_requires_authentication(
    sandbox: Sandbox, client: stripe.StripeClient, shop: Shop
) -> None:
    setup = await client.v1.setup_intents.create_async({"customer": shop.customer})
    with pytest.raises(SandboxCardError):
        sandbox.confirm_setup(setup.client_secret, "4000000000000002")
    assert event_types(sandbox)[-1] == "setup_intent.setup_failed"
    assert sandbox.get(setup.id)["last_setup_error"]["decline_code"] == "generic_decline"

    waiting = sandbox.confirm_setup(setup.client_secret, "4000002500003155")
    assert waiting["status"] == "requires_action"
    refused = sandbox.authenticate(setup.id, accept=False)
    assert refused["last_setup_error"]["code"] == "setup_intent_authentication_failure"

    sandbox.confirm_setup(setup.client_secret, "4000002500003155")
    assert sandbox.authenticate(setup.id)["status"] == "succeeded"

    other = await client.v1.setup_intents.create_async({})
    canceled = await client.v1.setup_intents.cancel_async(other.id)
    assert canceled.status == "canceled"
