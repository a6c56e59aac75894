"""The audit reports a top-up whose ledger row is damaged so that it no longer counts as one."""

from typing import Any

import pytest

from datalayer_stripe.sandbox.delivery.webhooks import Webhooks
from datalayer_stripe.service import Service
from tests.support.audits import differences
from tests.support.shop import Buyer

MISSING = "its ledger row is missing"


@pytest.mark.parametrize(
    "damage", [{"corrects": "alice"}, {"corrects": "pi_other"}, {"reverses": "pi_other"}]
)
@pytest.mark.gen_test
async def test_damaged_row_of_a_top_up_is_reported(
    buyer: Buyer, webhooks: Webhooks, service: Service, damage: dict[str, Any]
) -> None:
    await buyer.subscribe()
    await buyer.buy()
    await webhooks.settle()
    assert await differences(service) == []
    ledger = service.store._database.ledger
    [row] = await ledger.find().to_list(None)
    await ledger.update_one({"_id": row["_id"]}, {"$set": damage})
    found = [one.explanation for one in await differences(service) if one.id == row["_id"]]
    assert any(MISSING in explanation for explanation in found), found
