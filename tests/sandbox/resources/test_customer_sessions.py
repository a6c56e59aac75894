"""Customer sessions."""

import pytest
import stripe

from datalayer_stripe.sandbox import Sandbox
from tests.sandbox.conftest import Shop


@pytest.mark.gen_test
async def test_session_enables_components_for_half_an_hour(
    sandbox: Sandbox, client: stripe.StripeClient, shop: Shop
) -> None:
    features = {"payment_method_save": "enabled", "payment_method_save_usage": "off_session"}
    element = {"enabled": True, "features": features}
    session = await client.v1.customer_sessions.create_async(
        {
            "customer": shop.customer,
            "components": {"payment_element": element},
            "expand": ["customer"],
        }
    )
    assert session.customer.name == "Ada"
    assert session.client_secret.startswith("cuss_secret_")
    assert session.expires_at - session.created == 1800
    components = session.components.to_dict()
    assert components["pricing_table"] == {"enabled": False}
    assert components["payment_element"]["features"].items() >= features.items()
    assert components["payment_element"]["features"]["payment_method_redisplay"] == "disabled"
    assert components["customer_sheet"] == {"enabled": False, "features": None}

    create = client.v1.customer_sessions.create_async
    for params, param in (
        ({"customer": shop.customer}, "components"),
        ({"customer": shop.customer, "components": {"buy_button": ""}}, "components[buy_button]"),
        (
            {"customer": shop.customer, "components": {"buy_button": {"enabled": False}}},
            "components",
        ),
        ({"customer": "cus_none", "components": {"buy_button": {"enabled": True}}}, "customer"),
    ):
        with pytest.raises(stripe.InvalidRequestError) as caught:
            await create(params)
        assert caught.value.param == param
