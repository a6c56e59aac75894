"""Wait until the deliveries to an endpoint are done, so that no event is lost with it."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass

from ..stripe_api.webhook_endpoints import WebhookEndpointCalls

SETTLE_SECONDS = 5.0
"""The time after another endpoint is enabled until all events before it are listed."""

POLL_SECONDS = 5.0

# Stripe retries a delivery for three days: https://docs.stripe.com/webhooks#retries.
_RETRY_SECONDS = 3 * 24 * 3600

KnownEvents = Callable[[Sequence[str]], Awaitable[Collection[str]]]
"""Returns which of these events the service has, and no plugin has failed."""


@dataclass(frozen=True)
class Timing:
    """How a rotation waits.

    Attributes:
        wait: How long to wait for the restart of the service, and for pending deliveries, in
            seconds.
        sleep: Waits for a number of seconds.
        now: Returns the time in epoch seconds.
    """

    wait: float
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    now: Callable[[], float] = time.time


class PendingDeliveries:
    """Finds the events whose deliveries would be lost if an endpoint were deleted now.

    Args:
        calls: The calls of Stripe's API.
        timing: How to wait.
        known_events: Returns which events the service has in its database, and finishes without a
            further delivery. None if the database cannot be read.
    """

    def __init__(
        self,
        calls: WebhookEndpointCalls,
        timing: Timing,
        known_events: KnownEvents | None,
    ) -> None:
        self._calls = calls
        self._timing = timing
        self._known_events = known_events

    async def wait(self, types: Sequence[str]) -> set[str]:
        """Wait until each event that is pending now is delivered, or is known to the service.

        Events that are created meanwhile do not count: another endpoint is sent these, too.

        Args:
            types: The types of the events.

        Returns:
            The ids of the events that are still pending when the time is over.
        """
        await self._timing.sleep(SETTLE_SECONDS)
        pending = await self._list(types)
        waited = 0.0
        while pending and waited < self._timing.wait:
            await self._timing.sleep(POLL_SECONDS)
            waited += POLL_SECONDS
            pending &= await self._list(types)
        return pending

    async def _list(self, types: Sequence[str]) -> set[str]:
        listed = await self._calls.list_undelivered(
            types, created_since=int(self._timing.now()) - _RETRY_SECONDS
        )
        # The service does not process the events of connected accounts.
        pending = {str(one["id"]) for one in listed if not one.get("account")}
        if pending and self._known_events is not None:
            pending -= set(await self._known_events(sorted(pending)))
        return pending
