"""What the checks read from Stripe. Each object is read once, however many checks need it."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime, timedelta
from typing import Any

from ..clock import Clock
from ..errors import StripeObjectMissing
from ..provisioning.event_destination import EventDestination, parse_destination
from ..provisioning.webhook_endpoints import WebhookEndpoint, list_endpoints
from ..settings import Settings
from ..stripe_api.account_probes import AccountProbes
from ..stripe_api.account_setup import AccountSetupCalls
from ..stripe_api.client import StripeClient
from ..stripe_api.event_destinations import EventDestinationCalls
from ..stripe_api.objects import StripeData
from ..stripe_api.transport import StripeDict
from ..stripe_api.webhook_endpoints import WebhookEndpointCalls
from ..tasks import retrieve_error

FAILURE_PERIOD = timedelta(days=3)
"""How far back failed deliveries are looked for. Stripe retries a delivery for so long."""


class StripeAccount:
    """The objects of a Stripe account that the settings name.

    Args:
        stripe: The client of Stripe's API.
        settings: The settings.
        clock: Returns the present time.
    """

    def __init__(self, stripe: StripeClient, settings: Settings, clock: Clock) -> None:
        self._stripe = stripe
        self._settings = settings
        self._clock = clock
        self.probes = AccountProbes(stripe.transport)
        self._setup = AccountSetupCalls(stripe.transport)
        self._reads: dict[str, asyncio.Task[Any]] = {}

    async def server_time(self) -> tuple[datetime, datetime]:
        """Return Stripe's time, to the second, and this machine's at the same moment."""
        times: tuple[datetime, datetime] = await self._once(
            "time", lambda: self.probes.server_time(self._clock)
        )
        return times

    async def product(self, product_id: str) -> StripeData | None:
        """Return a product, or None if Stripe does not have it.

        Args:
            product_id: The product, `prod_…`.
        """
        read = _or_none(lambda: self._setup.retrieve_product(product_id))
        found: StripeData | None = await self._once(product_id, read)
        return found

    async def prices(self, product_id: str) -> Sequence[StripeData]:
        """Return the active prices of a product, none if Stripe does not have the product.

        Args:
            product_id: The product, `prod_…`.
        """
        read = _or_none(lambda: self._setup.list_active_prices(product_id))
        found: Sequence[StripeData] | None = await self._once(f"prices of {product_id}", read)
        return found or ()

    async def portal_configuration(self) -> StripeData | None:
        """Return the configuration of the customer portal, or None if Stripe does not have it."""
        configuration_id = self._settings.stripe_cust_portal_id
        read = _or_none(lambda: self._setup.retrieve_portal_configuration(configuration_id))
        found: StripeData | None = await self._once(configuration_id, read)
        return found

    async def webhook_endpoints(self) -> Sequence[WebhookEndpoint]:
        """Return all webhook endpoints of the account, the oldest first."""
        found: Sequence[WebhookEndpoint] = await self._once(
            "endpoints", lambda: list_endpoints(self._stripe)
        )
        return found

    async def event_destinations(self) -> Sequence[EventDestination]:
        """Return all event destinations of the account."""
        calls = EventDestinationCalls(self._stripe.transport)
        found: Sequence[StripeDict] = await self._once("destinations", calls.list_all)
        return list(map(parse_destination, found))

    async def undelivered_events(self, types: Sequence[str]) -> Sequence[StripeData]:
        """Return recent events that an endpoint has not accepted.

        Args:
            types: The event types.
        """
        since = int((self._clock() - FAILURE_PERIOD).timestamp())
        calls = WebhookEndpointCalls(self._stripe.transport)
        return await calls.list_undelivered(types, created_since=since)

    async def _once(self, key: str, read: Callable[[], Awaitable[Any]]) -> Any:
        """Return the result of a read, which is shared by all callers with the same key."""
        if key not in self._reads:
            task = asyncio.ensure_future(read())
            task.add_done_callback(retrieve_error)
            self._reads[key] = task
        # A check that is cancelled does not cancel the read of the others.
        return await asyncio.shield(self._reads[key])


def _or_none(read: Callable[[], Awaitable[Any]]) -> Callable[[], Awaitable[Any]]:
    async def read_or_none() -> Any:
        try:
            return await read()
        except StripeObjectMissing:
            return None

    return read_or_none
