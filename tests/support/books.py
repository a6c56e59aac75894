"""What proves the books of a service, and what delivers all that they are made of."""

import asyncio
import json
from collections.abc import Sequence
from typing import Any

from datalayer_stripe.reconciliation.differences import Difference
from datalayer_stripe.reconciliation.repair import repair_all
from datalayer_stripe.service import Service
from tests.support.shop import Buyer


async def differences(service: Service) -> list[Difference]:
    """Return what an audit finds."""
    found: list[Difference] = []
    await service.audit(on_difference=found.append).run()
    return found


async def heal(service: Service, found: Sequence[Difference]) -> None:
    """Do what `datalayer-stripe audit --repair --yes` does with these differences."""
    reasons = await repair_all(service.repairs(), [one.target for one in found if one.target])
    assert set(reasons.values()) <= {None}


async def until_taken(buyer: Buyer, events: Sequence[dict[str, Any]]) -> None:
    """Deliver all at once, and again what is refused, as Stripe does."""
    for _ in range(20):
        bodies = [json.dumps(event).encode() for event in events]
        answers = await asyncio.gather(*map(buyer.api.deliver, bodies))
        assert {answer.code for answer in answers} <= {200, 503}
        events = [
            event for event, answer in zip(events, answers, strict=True) if answer.code != 200
        ]
        if not events:
            return
    raise AssertionError(f"never taken: {[event['type'] for event in events]}")
