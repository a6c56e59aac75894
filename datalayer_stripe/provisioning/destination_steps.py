"""Plan the event destination for thin events as steps of the set-up."""

from collections.abc import Sequence
from dataclasses import replace

from ..stripe_api.client import StripeClient
from ..stripe_api.event_destinations import EventDestinationCalls
from .base_steps import create_step, keep_step
from .event_destination import (
    DestinationPlan,
    EventDestination,
    apply_destination,
    list_destinations,
    plan_destination,
    record_destination_secret,
    without_thin_event,
)
from .signing_secrets import SECRET_VARIABLE, WEBHOOKS_PAGE, SigningSecrets
from .steps import Step

DESTINATION_SUBJECT = "thin event destination"


def destination_by_hand(url: str) -> str:
    """Return how to create the destination by hand.

    Args:
        url: The URL of the webhook.
    """
    return (
        f"Add an event destination for {url} at {WEBHOOKS_PAGE}, with the payload style thin and "
        "the event types of the webhook endpoint with the prefix v1. Then add its signing secret "
        f"to {SECRET_VARIABLE}, after a comma."
    )


async def plan_destination_steps(
    client: StripeClient, *, url: str, events: Sequence[str], secrets: SigningSecrets
) -> list[Step]:
    """Return the steps after which Stripe sends the service exactly these events as thin events.

    Args:
        client: The client of Stripe's API.
        url: The URL of the webhook.
        events: The event types that the plugins want.
        secrets: The signing secrets of the configuration.
    """
    plan = await plan_destination(client, url=url, events=events)
    note = "".join(
        f", without {event}, which has no thin event" for event in without_thin_event(events)
    )
    existing = plan.destination
    if existing is None or existing.is_unrecorded:
        return [_create(client, replace(plan, destination=None), secrets, note, lost=existing)]
    keep = keep_step(
        DESTINATION_SUBJECT,
        existing,
        plan,
        apply=lambda: apply_destination(client, plan),
        note=note,
    )
    instead = "Or delete the destination there, and run this command again."
    return [keep, *await secrets.missing_steps(client, existing, instead=instead)]


def _create(
    client: StripeClient,
    plan: DestinationPlan,
    secrets: SigningSecrets,
    note: str,
    lost: EventDestination | None,
) -> Step:
    async def delete_lost(lost_id: str) -> None:
        if any(one.id == lost_id and one.is_unrecorded for one in await list_destinations(client)):
            await EventDestinationCalls(client.transport).delete(lost_id)

    return create_step(
        DESTINATION_SUBJECT,
        f"{plan.url}, {len(plan.events)} event types{note}",
        secrets=secrets,
        create=lambda: apply_destination(client, plan, lost=lost),
        record=lambda destination, secret: record_destination_secret(client, destination, secret),
        delete_lost=delete_lost,
        lost=lost,
        by_hand=destination_by_hand(plan.url),
    )
