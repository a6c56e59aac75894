"""Find, create and change the event destination of this service, which sends thin events.

The destination has the metadata `managed_by: datalayer-stripe`. Others of the account are never
changed, except one for thin events with exactly the service's URL, which then gets the metadata.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from pydantic import BaseModel, ConfigDict, Field, SecretStr

from ..errors import StripePermissionMissing
from ..events import THIN_PREFIX, has_thin_event
from ..stripe_api.client import StripeClient
from ..stripe_api.event_destinations import EventDestinationCalls
from ..stripe_api.transport import StripeDict
from .endpoint_base import (
    SECRET_DIGEST,
    BaseEndpoint,
    BasePlan,
    create_endpoint,
    secret_digest,
)

NAME = "datalayer-stripe thin events"


class _WebhookEndpoint(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")

    url: str | None = None
    signing_secret: SecretStr | None = None


class EventDestination(BaseEndpoint):
    """An event destination: https://docs.stripe.com/api/v2/core/event-destinations/object."""

    event_payload: str
    created: str
    webhook_endpoint: _WebhookEndpoint | None = Field(default=None, repr=False)

    @property
    def url(self) -> str | None:
        """The URL that Stripe sends the events to; None for a queue of another provider."""
        return self.webhook_endpoint.url if self.webhook_endpoint else None

    @property
    def secret(self) -> SecretStr | None:
        """The signing secret. Stripe returns it at the creation only."""
        return self.webhook_endpoint.signing_secret if self.webhook_endpoint else None


@dataclass(frozen=True)
class DestinationPlan(BasePlan):
    """The plan of an event destination. Its event types are those of thin events.

    Attributes:
        destination: The existing destination, or None.
    """

    destination: EventDestination | None = None

    @property
    def existing(self) -> EventDestination | None:
        return self.destination

    def lines(self) -> list[str]:
        """Return a line for each change, for the operator."""
        if self.destination is None:
            number = len(self.events)
            return [
                f"create an event destination for {self.url} with {number} types of thin events"
            ]
        return self.change_lines()


def without_thin_event(events: Iterable[str]) -> list[str]:
    """Return those event types of which Stripe sends no thin events, sorted.

    Args:
        events: The event types, without a prefix.
    """
    return sorted(event for event in set(events) if not has_thin_event(event))


async def list_destinations(client: StripeClient) -> list[EventDestination]:
    """Return all destinations for thin events of the Stripe account, the managed ones first.

    Raises:
        StripePermissionMissing: The key lacks the permission `webhook_read`.
        StripeUnavailable: Stripe does not answer.
    """
    found = await EventDestinationCalls(client.transport).list_all()
    thin = [one for one in map(parse_destination, found) if one.event_payload == "thin"]
    return sorted(thin, key=lambda one: (not one.is_managed, one.created))


async def list_visible_destinations(client: StripeClient) -> list[EventDestination]:
    """Return all destinations for thin events, or none if the key lacks the permission for them.

    Most accounts have none, so that their keys need not have it.

    Raises:
        StripeUnavailable: Stripe does not answer.
    """
    try:
        return await list_destinations(client)
    except StripePermissionMissing:
        return []


async def plan_destination(
    client: StripeClient, *, url: str, events: Sequence[str]
) -> DestinationPlan:
    """Compare the event destination of the service with what it should be, and change nothing.

    Args:
        client: The client of Stripe's API.
        url: The URL of the service's webhook.
        events: The event types that the plugins want, without a prefix. Those without a thin event
            are left out: the webhook endpoint sends them.

    Raises:
        StripePermissionMissing: The key lacks the permission `webhook_read`.
        StripeUnavailable: Stripe does not answer.
    """
    here = [one for one in await list_destinations(client) if one.url == url]
    wanted = set(events).difference(without_thin_event(events))
    types = tuple(sorted(THIN_PREFIX + event for event in wanted))
    return DestinationPlan(url, types, here[0] if here else None)


async def apply_destination(
    client: StripeClient, plan: DestinationPlan, *, lost: BaseEndpoint | None = None
) -> EventDestination:
    """Create the destination of a plan, or change it. Concurrent calls create one destination.

    Args:
        client: The client of Stripe's API.
        plan: The plan.
        lost: A destination that the new one replaces.

    Returns:
        The destination, with its signing secret if it was created. Record it then with
        :func:`record_destination_secret`.

    Raises:
        InvalidRequest: Stripe refuses the URL or an event type, or has 16 destinations already.
        StripePermissionMissing: The key lacks the permission `webhook_write`.
        StripeUnavailable: Stripe does not answer.
    """
    calls = EventDestinationCalls(client.transport)
    if plan.destination is None:
        created = await create_endpoint(
            {"url": plan.url, "enabled_events": plan.events, "name": NAME},
            create=calls.create_thin,
            list_existing=lambda: list_destinations(client),
            lost=lost,
        )
        return parse_destination(created)
    destination = plan.destination
    if plan.changes:
        destination = parse_destination(await calls.update(destination.id, plan.changes))
    if plan.enables:
        destination = parse_destination(await calls.enable(destination.id))
    return destination


async def record_destination_secret(
    client: StripeClient, destination: EventDestination, secret: SecretStr
) -> EventDestination:
    """Store the digest of a new destination's signing secret in its metadata.

    Args:
        client: The client of Stripe's API.
        destination: The destination.
        secret: Its signing secret.

    Raises:
        StripePermissionMissing: The key lacks the permission `webhook_write`.
        StripeUnavailable: Stripe does not answer.
    """
    changes = {"metadata": {SECRET_DIGEST: secret_digest(secret)}}
    updated = await EventDestinationCalls(client.transport).update(destination.id, changes)
    return parse_destination(updated)


def parse_destination(data: StripeDict) -> EventDestination:
    """Return a destination in one of Stripe's answers."""
    return EventDestination.model_validate(data)
