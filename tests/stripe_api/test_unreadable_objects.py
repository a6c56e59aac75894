"""A Stripe object that cannot be read does not stop the reconciliation of the others."""

from datetime import timedelta

import pytest

from datalayer_stripe.sandbox import Sandbox
from datalayer_stripe.sandbox.delivery.webhooks import Webhooks
from datalayer_stripe.service import Service
from tests.support.app import Clock
from tests.support.shop import Buyer

pytestmark = pytest.mark.mongod


@pytest.mark.gen_test
async def test_subscription_without_items_does_not_stop_the_reconciliation(
    buyer: Buyer,
    stranger: Buyer,
    sandbox: Sandbox,
    webhooks: Webhooks,
    service: Service,
    clock: Clock,
) -> None:
    repaired = await buyer.subscribe()
    unreadable = await stranger.subscribe()
    webhooks.drop(1000)
    sandbox.call("POST", f"/v1/subscriptions/{repaired}", cancel_at_period_end=True)
    subscription = sandbox.get(unreadable)
    sandbox.put({**subscription, "items": {**subscription["items"], "data": []}})
    sandbox.forget_events()
    report = await service.reconciliation().run(clock() - timedelta(days=30))
    assert report.rejected == 1
    assert report.checked["subscription"] == 2
    assert (await buyer.plan())["cancel_at_period_end"]
