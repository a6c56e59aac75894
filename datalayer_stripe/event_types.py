"""The event types that Stripe has, as its SDK lists them: docs.stripe.com/api/events/types."""

import difflib
import typing
from functools import cache


@cache
def known_types() -> frozenset[str]:
    """All that a webhook endpoint can be sent, by the installed SDK's own list."""
    from stripe.params import WebhookEndpointCreateParams  # noqa: PLC0415 (few need it)

    # `List[Literal["*", "account.updated", …]]`. Not get_type_hints, which fails: it looks at the
    # class that this one is derived from, too, whose names only a type checker can find.
    annotation = WebhookEndpointCreateParams.__annotations__["enabled_events"]
    (literal,) = typing.get_args(annotation)
    return frozenset(typing.get_args(literal)) - {"*"}


def doubt_about(event_type: str) -> str | None:
    """What is to be said of a type that Stripe does not have; None where it has it.

    The SDK may be older than the type: so it is a doubt, and a service starts all the same.
    """
    if event_type in known_types():
        return None
    near = difflib.get_close_matches(event_type, sorted(known_types()), n=1)
    hint = f"Did you mean {near[0]}?" if near else "https://docs.stripe.com/api/events/types"
    return f"Stripe has no event type {event_type}. {hint}"
