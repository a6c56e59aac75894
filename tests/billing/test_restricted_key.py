"""The service needs no more than the documented permissions of a restricted key."""

from datetime import timedelta

import pytest
from pydantic import SecretStr

from datalayer_stripe.sandbox import Sandbox
from datalayer_stripe.sandbox.delivery.webhooks import Webhooks
from datalayer_stripe.service import Service
from datalayer_stripe.settings import Settings
from datalayer_stripe.stripe_api.permissions import service_permissions
from tests.support.app import Clock, json_of
from tests.support.shop import IAM_ROUTES, STRIPE_ROUTES, Buyer


@pytest.fixture
def settings(settings: Settings, sandbox: Sandbox) -> Settings:
    key = sandbox.create_restricted_key(service_permissions())
    return settings.model_copy(update={"stripe_api_key": SecretStr(key)})


@pytest.mark.gen_test
async def test_service_works_with_the_documented_permissions(
    buyer: Buyer, webhooks: Webhooks, service: Service, clock: Clock
) -> None:
    await buyer.subscribe()
    paid = await buyer.buy()
    assert await buyer.credits() == 50
    buyer.sandbox.refund(paid["id"])
    await webhooks.settle()
    await service.worker.run_due()
    assert await buyer.credits() == 0
    fields = {"return_url": f"{buyer.api.url}/checkout"}
    portal = await buyer.api.post(f"{IAM_ROUTES}/checkout/portal", fields)
    assert portal.code == 200, portal.body
    cancelled = await buyer.api.post(f"{IAM_ROUTES}/subscription/cancel", {})
    assert cancelled.code == 200, cancelled.body
    await service.reconciliation().run(clock() - timedelta(days=1))
    report = await service.audit().run()
    assert report.checked
    refused = [call for call in buyer.sandbox.api.calls if call.status == 403]
    assert refused == []
    assert json_of(await buyer.api.get(f"{STRIPE_ROUTES}/topup/prices"))["prices"]
