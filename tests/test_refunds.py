"""Refunds and disputes take back what a top-up gave: in proportion, once, in whatever order."""

import pytest

from datalayer_stripe.sandbox import Sandbox
from datalayer_stripe.sandbox.webhooks import Webhooks
from datalayer_stripe.service import Service
from tests.support.shop import Buyer, rows


@pytest.mark.gen_test(timeout=30)
async def test_a(buyer: Buyer, sandbox: Sandbox, webhooks: Webhooks, service: Service):
    await buyer.subscribe()
    bought = await buyer.buy()
    sandbox.refund(bought["id"], 333)
    await webhooks.settle()
    print([(a.type, a.status, a.body) for a in webhooks.attempts][-4:])
    assert await buyer.credits() == 17
    d = sandbox.dispute(bought["id"])
    await webhooks.settle()
    print(await rows(service, "ledger"))
    assert await buyer.credits() == 0
    sandbox.close_dispute(d["id"], won=True)
    await webhooks.settle()
    assert await buyer.credits() == 17
    print([(a.type, a.status, a.body) for a in webhooks.attempts][-4:])
    print(await rows(service, "ledger"))
    sandbox.close_dispute(d["id"], won=False)
    await webhooks.settle()
    assert await buyer.credits() == 0
    print(await rows(service, "ledger"))
