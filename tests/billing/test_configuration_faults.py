"""Ids in the settings that Stripe does not have are reported to the operator."""

import logging
from typing import Any

import pytest

from datalayer_stripe.sandbox import Sandbox
from datalayer_stripe.service import Service
from datalayer_stripe.settings import Settings
from tests.support.app import Api, json_of
from tests.support.shop import IAM_ROUTES, STRIPE_ROUTES, Buyer, Shop

TOPUP = "DATALAYER_STRIPE_TOPUP_PRODUCT_ID"
PLAN = "DATALAYER_STRIPE_SUBSCRIPTION_PRODUCT_ID"
PORTAL = "DATALAYER_STRIPE_CUST_PORTAL_ID"


@pytest.fixture
def settings(settings: Settings, changes: dict[str, Any]) -> Settings:
    return settings.model_copy(update=changes)


async def warnings(api: Api) -> dict[str, str]:
    answer = await api.get("/readyz", account=None)
    assert answer.code == 200, "a wrong id does not make the service unready"
    return dict(json_of(answer)["warnings"])


def logged(caplog: pytest.LogCaptureFixture, variable: str) -> list[str]:
    return [
        record.getMessage()
        for record in caplog.records
        if record.levelno == logging.WARNING and variable in record.getMessage()
    ]


@pytest.mark.parametrize("changes", [{"stripe_topup_product_id": "prod_unknown"}])
@pytest.mark.gen_test
async def test_unknown_top_up_product_is_reported_to_the_operator(
    api: Api, shop: Shop, changes: Any, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(3):
        answer = await api.get(f"{STRIPE_ROUTES}/topup/prices")
        assert (answer.code, json_of(answer)["code"]) == (503, "not_configured")
        assert "prod_unknown" not in json_of(answer)["message"]
        assert "operator" in json_of(answer)["message"]
        assert "Retry-After" in answer.headers
    assert len(logged(caplog, TOPUP)) == 1
    assert "prod_unknown" in (await warnings(api))[TOPUP]


@pytest.mark.parametrize("changes", [{"stripe_subscription_product_ids": ("prod_unknown",)}])
@pytest.mark.gen_test
async def test_unknown_plan_product_is_reported_to_the_operator(
    api: Api, shop: Shop, changes: Any, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(2):
        answer = await api.get(f"{IAM_ROUTES}/subscription/plans")
        assert (answer.code, json_of(answer)["code"]) == (503, "not_configured")
    shown = await api.get(f"{IAM_ROUTES}/subscription")
    assert shown.code == 200, "the balance does not depend on the plans"
    assert json_of(shown)["available_plans"] == []
    assert len(logged(caplog, PLAN)) == 1
    assert "prod_unknown" in (await warnings(api))[PLAN]


@pytest.mark.parametrize("changes", [{}])
@pytest.mark.gen_test
async def test_unknown_plan_product_does_not_hide_the_plans_of_other_products(
    api: Api, service: Service, sandbox: Sandbox, shop: Shop, changes: Any
) -> None:
    service.catalog._subscription_product_ids = ("prod_unknown", shop.plan_product)
    answer = await api.get(f"{IAM_ROUTES}/subscription/plans")
    assert [plan["id"] for plan in json_of(answer)["plans"]] == [shop.plan]
    assert "prod_unknown" in (await warnings(api))[PLAN]
    sandbox.create_product(name="Created later", id="prod_unknown")
    service.catalog.clear_cache()
    await api.get(f"{IAM_ROUTES}/subscription/plans")
    assert await warnings(api) == {}


@pytest.mark.parametrize("changes", [{}])
@pytest.mark.gen_test
async def test_product_without_prices_is_reported_to_the_operator(
    api: Api, service: Service, sandbox: Sandbox, shop: Shop, changes: Any
) -> None:
    for price in shop.packages:
        sandbox.update_price(price, active=False)
    answer = await api.get(f"{STRIPE_ROUTES}/topup/prices")
    assert json_of(answer)["prices"] == []
    assert "no package is for sale" in (await warnings(api))[TOPUP]


@pytest.mark.parametrize("changes", [{"stripe_cust_portal_id": "bpc_unknown"}])
@pytest.mark.gen_test
async def test_unknown_portal_is_reported_to_the_operator(
    buyer: Buyer, api: Api, changes: Any, caplog: pytest.LogCaptureFixture
) -> None:
    await buyer.ask_to_subscribe()
    for _ in range(2):
        answer = await api.post(
            f"{IAM_ROUTES}/checkout/portal", {"return_url": "https://app.example.com"}
        )
        assert answer.code == 200, "the portal's sign-in page is returned instead"
    assert len(logged(caplog, PORTAL)) == 1
    assert "bpc_unknown" in (await warnings(api))[PORTAL]
