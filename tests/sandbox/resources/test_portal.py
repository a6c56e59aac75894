"""Configurations and sessions of the billing portal."""

import pytest
import stripe

from datalayer_stripe.sandbox import Sandbox
from tests.sandbox.conftest import Http, Shop


@pytest.mark.gen_test
async def test_portal_session_uses_its_configuration(
    sandbox: Sandbox, client: stripe.StripeClient, shop: Shop, http: Http
) -> None:
    portal = client.v1.billing_portal
    with pytest.raises(stripe.InvalidRequestError, match="save your customer portal settings"):
        await portal.sessions.create_async({"customer": shop.customer})
    configuration = await portal.configurations.create_async(
        {
            "features": {"subscription_cancel": {"enabled": True}},
            "business_profile": {"headline": "Credits"},
        }
    )
    assert configuration.is_default
    assert configuration.features.subscription_cancel.mode == "at_period_end"
    updated = await portal.configurations.update_async(
        configuration.id, {"default_return_url": "https://shop.example.com/"}
    )
    assert updated.business_profile.headline == "Credits"
    await portal.configurations.update_async(
        configuration.id, {"features": {"subscription_cancel": {"enabled": False}}}
    )
    previous = sandbox.events[-1]["data"]["previous_attributes"]
    assert previous["features"] == {"subscription_cancel": {"enabled": True}}
    assert len((await portal.configurations.list_async({"active": True})).data) == 1

    created = await portal.sessions.create_async(
        {"customer": shop.customer, "configuration": configuration.id}
    )
    assert created.return_url == "https://shop.example.com/"
    assert created.url.startswith(sandbox.url)
    page = await http("GET", created.url.removeprefix(sandbox.url), key=None)
    assert page.code == 200
    assert b"https://shop.example.com/" in page.body


@pytest.mark.gen_test
async def test_login_page_has_a_url_while_it_is_enabled(
    sandbox: Sandbox, client: stripe.StripeClient, http: Http
) -> None:
    configurations = client.v1.billing_portal.configurations
    created = await configurations.create_async(
        {"features": {"invoice_history": {"enabled": True}}, "login_page": {"enabled": True}}
    )
    url = created.login_page.url
    assert url is not None
    path = url.removeprefix(sandbox.url)
    assert (await http("GET", path, key=None)).code == 200
    await configurations.update_async(created.id, {"name": "Portal"})
    assert (await configurations.retrieve_async(created.id)).login_page.url == url
    disabled = await configurations.update_async(created.id, {"login_page": {"enabled": False}})
    assert (disabled.login_page.enabled, disabled.login_page.url) == (False, None)
    assert (await http("GET", path, key=None)).code == 404
    assert (await http("GET", path + "x", key=None)).code == 404
