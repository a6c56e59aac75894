"""The list of events at `/v1/events`."""

import pytest
import stripe


@pytest.mark.gen_test
async def test_list_of_events_accepts_up_to_twenty_types(client: stripe.StripeClient) -> None:
    types = [f"charge.of_type_{number}" for number in range(21)]
    await client.v1.events.list_async({"types": types[:20]})
    with pytest.raises(stripe.InvalidRequestError, match="up to 20"):
        await client.v1.events.list_async({"types": types})
