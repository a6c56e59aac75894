"""The calls that set up an account read all pages and all lookup keys."""

from collections.abc import Iterator

import pytest
from tornado.ioloop import IOLoop

from datalayer_stripe.errors import StripeObjectMissing
from datalayer_stripe.metrics import Metrics
from datalayer_stripe.sandbox import Sandbox
from datalayer_stripe.stripe_api.account_setup import AccountSetupCalls
from datalayer_stripe.stripe_api.client import StripeClient


@pytest.fixture
def calls(io_loop: IOLoop, sandbox: Sandbox) -> Iterator[AccountSetupCalls]:
    client = StripeClient(sandbox.secret_key, metrics=Metrics(), api_base=sandbox.url)
    yield AccountSetupCalls(client.transport)
    io_loop.run_sync(client.close)


@pytest.mark.gen_test
async def test_prices_are_found_by_more_lookup_keys_than_one_request_may_have(
    calls: AccountSetupCalls, sandbox: Sandbox
) -> None:
    product = await calls.create_product({"name": "Credits", "metadata": {"role": "credits"}})
    keys = [f"key-{number}" for number in range(12)]
    created = {
        key: await calls.create_price(
            {"product": product["id"], "currency": "usd", "unit_amount": 500, "lookup_key": key}
        )
        for key in keys
    }
    await calls.update_price(created["key-11"]["id"], {"active": False})
    found = await calls.list_prices_by_lookup_key([*keys, "key-unknown"])
    assert {key: price["id"] for key, price in found.items()} == {
        key: price["id"] for key, price in created.items()
    }
    assert not found["key-11"]["active"]
    active = await calls.list_active_prices(product["id"])
    assert {price["lookup_key"] for price in active} == set(keys) - {"key-11"}


@pytest.mark.gen_test
async def test_products_of_all_pages_are_listed(calls: AccountSetupCalls, sandbox: Sandbox) -> None:
    names = {f"Product {number}" for number in range(101)}
    for name in names:
        sandbox.create_product(name=name)
    listed = [product["name"] async for page in calls.product_pages() for product in page]
    assert set(listed) == names
    with pytest.raises(StripeObjectMissing):
        await calls.retrieve_product("prod_unknown")


@pytest.mark.gen_test
async def test_portal_configuration_is_created_changed_and_listed(
    calls: AccountSetupCalls, sandbox: Sandbox
) -> None:
    created = await calls.create_portal_configuration(
        {"features": {"invoice_history": {"enabled": True}}, "login_page": {"enabled": True}}
    )
    changed = await calls.update_portal_configuration(created["id"], {"metadata": {"a": "b"}})
    assert changed["metadata"] == {"a": "b"}
    assert changed["login_page"]["url"].startswith(sandbox.url)
    assert await calls.retrieve_portal_configuration(created["id"]) == changed
    assert await calls.list_portal_configurations() == [changed]


@pytest.mark.gen_test
async def test_account_has_an_id_and_a_name(calls: AccountSetupCalls) -> None:
    account = await calls.retrieve_account()
    assert account["id"].startswith("acct_")
    assert account["settings"]["dashboard"]["display_name"] == "Sandbox"
