"""What sends events to this service: its webhook endpoint, and its destination for thin events."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

from pydantic import SecretStr

from ..errors import CannotCheck
from ..events import THIN_PREFIX
from ..provisioning.event_destination import EventDestination
from ..provisioning.webhook_endpoints import WebhookEndpoint, endpoints_at
from .context import CheckContext

ALL_EVENTS = "*"


@dataclass(frozen=True)
class EventSource:
    """An endpoint that sends snapshot events, or a destination that sends thin events.

    Attributes:
        id: Its id, `we_…` or `ed_…`.
        url: Where it sends the events.
        is_enabled: Whether it sends any.
        types: The event types, without the prefix of thin events.
        has_secret: Returns whether a signing secret is its own, or None if it is not known.
        endpoint: The endpoint; None for a destination.
    """

    id: str
    url: str
    is_enabled: bool
    types: frozenset[str]
    has_secret: Callable[[SecretStr], bool | None]
    endpoint: WebhookEndpoint | None = None

    @property
    def shown_url(self) -> str:
        """The URL without its user, password and query, which may be secret."""
        parts = urlsplit(self.url)
        return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"

    def has_path(self, path: str) -> bool:
        """Return whether the URL ends with a path."""
        return has_path(self.url, path)


async def find_sources(context: CheckContext) -> list[EventSource]:
    """Return the endpoint of this service and its destination, those that exist.

    Raises:
        RequestError: Stripe does not list them.
    """
    sources = []
    if endpoint := _endpoint(context, await context.account.webhook_endpoints()):
        sources.append(
            EventSource(
                endpoint.id,
                endpoint.url,
                endpoint.is_enabled,
                frozenset(endpoint.enabled_events),
                endpoint.has_secret,
                endpoint,
            )
        )
    if destination := _destination(context, await context.account.event_destinations()):
        sources.append(
            EventSource(
                destination.id,
                destination.url or "",
                destination.is_enabled,
                frozenset(one.removeprefix(THIN_PREFIX) for one in destination.enabled_events),
                destination.has_secret,
            )
        )
    return sources


async def existing_sources(context: CheckContext) -> list[EventSource]:
    """Return what sends events to this service, only what is enabled if anything is.

    Raises:
        CannotCheck: There is nothing.
        RequestError: Stripe does not list them.
    """
    sources = await find_sources(context)
    if not sources:
        raise CannotCheck("there is no endpoint")
    return [source for source in sources if source.is_enabled] or sources


def _endpoint(
    context: CheckContext, endpoints: Sequence[WebhookEndpoint]
) -> WebhookEndpoint | None:
    """Return the likeliest endpoint of this service."""
    if context.endpoint_url and (same := endpoints_at(endpoints, context.endpoint_url)):
        return same[0]
    ours = [
        one
        for one in endpoints
        if not one.is_successor and (one.is_managed or has_path(one.url, context.webhook_path))
    ]
    return min(
        ours,
        key=lambda one: (
            one.is_idle,
            not has_path(one.url, context.webhook_path),
            not one.is_managed,
        ),
        default=None,
    )


def _destination(
    context: CheckContext, destinations: Iterable[EventDestination]
) -> EventDestination | None:
    """Return the likeliest destination for thin events of this service."""
    ours = [
        one
        for one in destinations
        if one.event_payload == "thin"
        and (one.is_managed or has_path(one.url or "", context.webhook_path))
    ]
    return min(
        ours, key=lambda one: (one.url != context.endpoint_url, not one.is_managed), default=None
    )


def has_path(url: str, path: str) -> bool:
    """Return whether a URL ends with a path."""
    return urlsplit(url).path.rstrip("/").endswith(path)
