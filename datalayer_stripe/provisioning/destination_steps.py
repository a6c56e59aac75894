"""Plan the event destination for thin events as steps of the set-up."""

from collections.abc import Sequence
from dataclasses import replace

from ..stripe_api.client import StripeClient
from ..stripe_api.event_destinations import EventDestinationCalls
from .event_destination import (
    DestinationPlan,
    EventDestination,
    apply_destination,
    plan_destination,
    record_destination_secret,
    without_thin_event,
)
from .signing_secrets import SECRET_VARIABLE, WEBHOOKS_PAGE, SigningSecrets
from .steps import Action, Save, Step

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
    if plan.destination is None or plan.destination.is_unrecorded:
        new = replace(plan, destination=None)
        return [_create(client, new, secrets, note, lost=plan.destination)]
    steps = [_keep(client, plan, plan.destination.id, note)]
    instead = "Or delete the destination there, and run this command again."
    return [*steps, *await secrets.missing_steps(client, plan.destination, instead=instead)]


def _create(
    client: StripeClient,
    plan: DestinationPlan,
    secrets: SigningSecrets,
    note: str,
    lost: EventDestination | None,
) -> Step:
    """Return the step that creates a destination, in place of one whose secret nobody has."""
    calls = EventDestinationCalls(client.transport)

    async def create(save: Save) -> None:
        destination = await apply_destination(client, plan)
        await secrets.keep(
            destination,
            save,
            record=lambda secret: record_destination_secret(client, destination, secret),
            delete=lambda: calls.delete(destination.id),
        )
        if lost is not None:
            await calls.delete(lost.id)

    instead = f", instead of {lost.id}, whose signing secret was not saved" if lost else ""
    return Step(
        DESTINATION_SUBJECT,
        Action.CREATE,
        f"{plan.url}, {len(plan.events)} event types{note}{instead}",
        create,
        sets=[SECRET_VARIABLE],
        by_hand=destination_by_hand(plan.url),
    )


def _keep(client: StripeClient, plan: DestinationPlan, destination_id: str, note: str) -> Step:
    if plan.is_unchanged:
        detail = f"{destination_id}, {plan.url}{note}"
        return Step(DESTINATION_SUBJECT, Action.UNCHANGED, detail)

    async def change(_save: Save) -> None:
        await apply_destination(client, plan)

    return Step(
        DESTINATION_SUBJECT,
        Action.CHANGE,
        "; ".join(plan.lines()) + note,
        change,
        by_hand=f"Change {destination_id} at {WEBHOOKS_PAGE}: its events have to be "
        f"{', '.join(plan.events)}.",
    )
