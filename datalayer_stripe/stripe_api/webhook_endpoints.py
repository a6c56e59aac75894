"""Calls about webhook endpoints: https://docs.stripe.com/api/webhook_endpoints."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from .queries import MAX_EVENT_TYPES, PAGE_SIZE
from .transport import StripeDict, StripeTransport, key_option


class WebhookEndpointCalls:
    """Calls that read and change the webhook endpoints of the Stripe account, in one mode.

    Each method raises a :class:`.RequestError` if Stripe refuses the request or does not answer,
    and :class:`.StripePermissionMissing` if a restricted key lacks a permission.

    Args:
        transport: Sends the requests.
    """

    def __init__(self, transport: StripeTransport) -> None:
        self._transport = transport
        self._v1 = transport.sdk.v1

    async def list_all(self) -> list[StripeDict]:
        """Return all endpoints, the newest first. They contain no signing secrets."""
        request = self._v1.webhook_endpoints.list_async({"limit": PAGE_SIZE})
        return await self._transport.collect("webhook_endpoints.list", request)

    async def create(
        self,
        *,
        url: str,
        enabled_events: Sequence[str],
        api_version: str,
        description: str,
        metadata: Mapping[str, str],
        idempotency_key: str | None = None,
    ) -> StripeDict:
        """Create an endpoint. Only this answer contains its signing secret, as `secret`.

        Args:
            url: Where Stripe sends the events.
            enabled_events: The event types.
            api_version: The API version of the events. It cannot be changed later.
            description: A text for the people who see the endpoint in Stripe's dashboard.
            metadata: The metadata.
            idempotency_key: The idempotency key; by default a new one.

        Raises:
            InvalidRequest: Stripe refuses the URL, or there are 16 endpoints already.
        """
        params: Any = {
            "url": url,
            "enabled_events": list(enabled_events),
            "api_version": api_version,
            "description": description,
            "metadata": dict(metadata),
        }
        return await self._transport.call(
            "webhook_endpoints.create",
            self._v1.webhook_endpoints.create_async(params, key_option(idempotency_key)),
        )

    async def update(self, endpoint_id: str, changes: Mapping[str, Any]) -> StripeDict:
        """Change an endpoint, and return it.

        Args:
            endpoint_id: The endpoint, `we_…`.
            changes: The parameters of https://docs.stripe.com/api/webhook_endpoints/update.

        Raises:
            StripeObjectMissing: Stripe has no such endpoint.
        """
        params: Any = dict(changes)
        return await self._transport.call(
            "webhook_endpoints.update", self._v1.webhook_endpoints.update_async(endpoint_id, params)
        )

    async def delete(self, endpoint_id: str) -> None:
        """Delete an endpoint. Stripe no longer retries the events that it has not accepted.

        Args:
            endpoint_id: The endpoint, `we_…`.

        Raises:
            StripeObjectMissing: Stripe has no such endpoint.
        """
        await self._transport.call(
            "webhook_endpoints.delete", self._v1.webhook_endpoints.delete_async(endpoint_id)
        )

    async def list_undelivered(
        self, types: Sequence[str], *, created_since: int
    ) -> list[StripeDict]:
        """Return the events that an endpoint has not accepted yet, or not accepted in any attempt.

        The events may be those of another endpoint of the account: Stripe only counts how many
        endpoints have not accepted an event.

        Args:
            types: The event types.
            created_since: The earliest time of creation, in epoch seconds.
        """
        events: list[StripeDict] = []
        for first in range(0, len(types), MAX_EVENT_TYPES):
            params: Any = {
                "types": list(types[first : first + MAX_EVENT_TYPES]),
                "delivery_success": False,
                "created": {"gte": created_since},
                "limit": PAGE_SIZE,
            }
            request = partial(self._v1.events.list_async, params)
            async for page in self._transport.pages("events.list", request):
                events += page
        return events
