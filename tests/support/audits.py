"""Audit and repair the ledger of a service, and deliver events until they are accepted."""

import asyncio
import json
from collections.abc import Sequence
from typing import Any

from datalayer_stripe.reconciliation.differences import Difference
from datalayer_stripe.reconciliation.repair import repair_all
from datalayer_stripe.service import Service
from tests.support.shop import Buyer


async def differences(service: Service) -> list[Difference]:
    """Return the differences that an audit finds."""
    found: list[Difference] = []
    await service.audit(on_difference=found.append).run()
    return found


async def repair(service: Service, found: Sequence[Difference]) -> None:
    """Repair these differences as `datalayer-stripe audit --repair --yes` does."""
    reasons = await repair_all(service.repairs(), [one.target for one in found if one.target])
    assert set(reasons.values()) <= {None}


async def deliver_until_accepted(buyer: Buyer, events: Sequence[dict[str, Any]]) -> None:
    """Deliver events concurrently, and retry those that are answered 503."""
    for _ in range(20):
        bodies = [json.dumps(event).encode() for event in events]
        answers = await asyncio.gather(*map(buyer.api.deliver, bodies))
        assert {answer.code for answer in answers} <= {200, 503}
        events = [
            event for event, answer in zip(events, answers, strict=True) if answer.code != 200
        ]
        if not events:
            return
    raise AssertionError(f"not accepted: {[event['type'] for event in events]}")
