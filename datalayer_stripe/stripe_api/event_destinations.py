"""Calls about event destinations: https://docs.stripe.com/api/v2/core/event-destinations."""

from collections.abc import Mapping, Sequence
from typing import Any

from .queries import PAGE_SIZE
from .transport import StripeDict, StripeTransport, key_option

_URL, _SECRET = "webhook_endpoint.url", "webhook_endpoint.signing_secret"


class EventDestinationCalls:
    """Calls that read and change the event destinations of the Stripe account, in one mode.

    Each method raises a :class:`.RequestError` if Stripe refuses the request or does not answer,
    and :class:`.StripePermissionMissing` if a restricted key lacks a permission.

    Args:
        transport: Sends the requests.
    """

    def __init__(self, transport: StripeTransport) -> None:
        self._transport = transport
        self._destinations = transport.sdk.v2.core.event_destinations

    async def list_all(self) -> list[StripeDict]:
        """Return all destinations with their URLs. They contain no signing secrets."""
        # One page holds all: an account has 16 at most, https://docs.stripe.com/event-destinations.
        params: Any = {"include": [_URL], "limit": PAGE_SIZE}
        request = self._destinations.list_async(params)
        page = await self._transport.call("v2.core.event_destinations.list", request)
        found: list[StripeDict] = page["data"]
        return found

    async def create_thin(
        self,
        *,
        url: str,
        enabled_events: Sequence[str],
        name: str,
        description: str,
        metadata: Mapping[str, str],
        idempotency_key: str | None = None,
    ) -> StripeDict:
        """Create a destination for thin events of the account itself.

        Only this answer contains its signing secret.

        Args:
            url: Where Stripe sends the events.
            enabled_events: The types of the thin events.
            name: A name for the people who see the destination in Stripe's dashboard.
            description: A text for them.
            metadata: The metadata.
            idempotency_key: The idempotency key; by default a new one.

        Raises:
            InvalidRequest: Stripe refuses the URL, or there are 16 destinations already.
        """
        params: Any = {
            "name": name,
            "description": description,
            "type": "webhook_endpoint",
            "event_payload": "thin",
            "events_from": ["@self"],
            "enabled_events": list(enabled_events),
            "webhook_endpoint": {"url": url},
            "metadata": dict(metadata),
            "include": [_URL, _SECRET],
        }
        return await self._transport.call(
            "v2.core.event_destinations.create",
            self._destinations.create_async(params, key_option(idempotency_key)),
        )

    async def update(self, destination_id: str, changes: Mapping[str, Any]) -> StripeDict:
        """Change a destination, and return it.

        Args:
            destination_id: The destination, `ed_…`.
            changes: The parameters of
                https://docs.stripe.com/api/v2/core/event-destinations/update.

        Raises:
            StripeObjectMissing: Stripe has no such destination.
        """
        params: Any = {**changes, "include": [_URL]}
        return await self._transport.call(
            "v2.core.event_destinations.update",
            self._destinations.update_async(destination_id, params),
        )

    async def enable(self, destination_id: str) -> StripeDict:
        """Let Stripe send events to a destination again, and return it.

        Args:
            destination_id: The destination, `ed_…`.

        Raises:
            StripeObjectMissing: Stripe has no such destination.
        """
        params: Any = {"include": [_URL]}
        return await self._transport.call(
            "v2.core.event_destinations.enable",
            self._destinations.enable_async(destination_id, params),
        )

    async def delete(self, destination_id: str) -> None:
        """Delete a destination. Stripe no longer retries the events that it has not accepted.

        Args:
            destination_id: The destination, `ed_…`.

        Raises:
            StripeObjectMissing: Stripe has no such destination.
        """
        await self._transport.call(
            "v2.core.event_destinations.delete", self._destinations.delete_async(destination_id)
        )
