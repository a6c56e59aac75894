"""The account of the key."""

import pytest
import stripe


@pytest.mark.gen_test
async def test_account_of_the_key_is_ready_to_charge(client: stripe.StripeClient) -> None:
    account = await client.v1.accounts.retrieve_current_async()
    assert account.id.startswith("acct_")
    assert account.charges_enabled
    assert account.settings is not None
    assert account.settings.dashboard.display_name == "Sandbox"
