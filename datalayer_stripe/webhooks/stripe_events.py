"""Read events from Stripe, by their own id or by that of their thin event."""

from contextlib import suppress

from ..errors import StripeObjectMissing
from ..events import Event
from ..stripe_api.client import StripeClient


async def retrieve_event(stripe: StripeClient, event_id: str) -> Event:
    """Return an event of the last 30 days.

    Args:
        stripe: The client of Stripe's API.
        event_id: The id of the event, or of its thin event. Stripe's dashboard shows both.

    Raises:
        StripeObjectMissing: Stripe has no such event, or deleted it after 30 days.
        StripeUnavailable: Stripe does not answer.
    """
    try:
        return Event.model_validate(await stripe.retrieve_event(event_id))
    except StripeObjectMissing:
        snapshot_id = await snapshot_id_of(stripe, event_id)
        if snapshot_id is None:
            raise
        return Event.model_validate(await stripe.retrieve_event(snapshot_id))


async def snapshot_id_of(stripe: StripeClient, thin_id: str) -> str | None:
    """Return the id of a thin event's snapshot event, or None if Stripe knows of none.

    Args:
        stripe: The client of Stripe's API.
        thin_id: The id of the thin event.

    Raises:
        StripeUnavailable: Stripe does not answer.
    """
    with suppress(StripeObjectMissing):
        return (await stripe.retrieve_thin_event(thin_id)).get("snapshot_event") or None
    return None
