"""Find, create and change the webhook endpoint of this service at Stripe.

The service's endpoints have the metadata `managed_by: datalayer-stripe`. Others of the account are
never changed, except one with exactly the service's URL, which then gets the metadata.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import Field, SecretStr

from ..errors import StartError
from ..stripe_api.client import StripeClient
from ..stripe_api.transport import StripeDict
from ..stripe_api.webhook_endpoints import WebhookEndpointCalls
from .endpoint_base import (
    SECRET_DIGEST,
    BaseEndpoint,
    BasePlan,
    HasUrl,
    create_endpoint,
    secret_digest,
)

ROTATION = "rotation"
SUCCESSOR = "successor"
"""The key and the value in the metadata of an endpoint that will replace others."""

IDLE_TYPES = ("terminal.reader.action_failed", "climate.order.product_substituted")
"""Event types of other products of Stripe. An endpoint must have one, also if it is to be idle."""


class WebhookEndpoint(BaseEndpoint):
    """A webhook endpoint: https://docs.stripe.com/api/webhook_endpoints/object."""

    id: str = Field(pattern=r"^we_\w+$")
    url: str
    api_version: str | None = None
    description: str | None = None
    created: int
    livemode: bool
    secret: SecretStr | None = None
    """The signing secret. Stripe returns it at the creation only."""

    @property
    def is_successor(self) -> bool:
        """Whether the endpoint will replace others: its secret is being rolled."""
        return self.is_managed and self.metadata.get(ROTATION) == SUCCESSOR

    @property
    def is_idle(self) -> bool:
        """Whether Stripe sends the endpoint nothing that a plugin handles."""
        return not self.is_enabled or set(self.enabled_events) <= set(IDLE_TYPES)


@dataclass(frozen=True)
class EndpointPlan(BasePlan):
    """The plan of a webhook endpoint.

    Attributes:
        api_version: The API version of a new endpoint.
        endpoint: The existing endpoint, or None.
        others: Further endpoints with the same URL, which no rotation will delete.
    """

    api_version: str
    endpoint: WebhookEndpoint | None = None
    others: tuple[WebhookEndpoint, ...] = ()

    @property
    def existing(self) -> WebhookEndpoint | None:
        return self.endpoint

    @property
    def creates(self) -> bool:
        """Whether an endpoint is created."""
        return self.endpoint is None

    @property
    def changes(self) -> Mapping[str, Any]:
        return {**super().changes, **({"disabled": False} if self.enables else {})}

    @property
    def has_other_version(self) -> bool:
        """Whether the endpoint has another API version. Only a new endpoint can change it."""
        return self.endpoint is not None and self.endpoint.api_version != self.api_version

    def lines(self) -> list[str]:
        """Return a line for each kind of change, for the operator; one if there is none."""
        if self.endpoint is None:
            return [
                f"create a webhook endpoint for {self.url} with {len(self.events)} event types "
                f"and API version {self.api_version}"
            ]
        return [f"webhook endpoint {self.endpoint.id}: {line}" for line in self.change_lines()] or [
            f"webhook endpoint {self.endpoint.id}: unchanged"
        ]


async def list_endpoints(client: StripeClient) -> list[WebhookEndpoint]:
    """Return all webhook endpoints of the Stripe account in the key's mode, the oldest first.

    Raises:
        StripePermissionMissing: The key lacks the permission `webhook_read`.
        StripeUnavailable: Stripe does not answer.
    """
    found = await WebhookEndpointCalls(client.transport).list_all()
    return sorted(map(parse_endpoint, found), key=lambda one: (one.created, one.id))


def parse_endpoint(data: StripeDict) -> WebhookEndpoint:
    """Return an endpoint in one of Stripe's answers."""
    return WebhookEndpoint.model_validate(data)


def endpoints_at(endpoints: Iterable[WebhookEndpoint], url: str) -> list[WebhookEndpoint]:
    """Return the endpoints with this URL, managed ones first.

    A successor counts, after the endpoints that it replaces, once Stripe sends it the events.

    Args:
        endpoints: The endpoints, in any order.
        url: The URL of the service's webhook.
    """
    found = [one for one in endpoints if one.url == url and not (one.is_successor and one.is_idle)]
    return sorted(
        found, key=lambda one: (not one.is_managed, one.is_successor, one.created, one.id)
    )


def choose_url(endpoints: Iterable[HasUrl], path: str) -> str:
    """Return the URL of the only webhook of this service at Stripe.

    If none is managed, one with the service's path counts, which was created by hand.

    Args:
        endpoints: All endpoints and event destinations of the account.
        path: The path of the webhook.

    Raises:
        StartError: There is none, or there are several. The message says what to do.
    """
    found = [(one.url, one.is_managed) for one in endpoints if one.url is not None]
    urls = sorted({url for url, is_managed in found if is_managed})
    urls = urls or sorted({url for url, _ in found if url.endswith(path)})
    if len(urls) == 1:
        return urls[0]
    if not urls:
        raise StartError(
            "Stripe has no webhook endpoint of this service in the mode of the key. Create it with "
            "`datalayer-stripe setup`, or name the URL of the webhook with --url."
        )
    raise StartError(
        f"Stripe has webhook endpoints of this service for {', '.join(urls)}. Name one of these "
        "URLs with --url."
    )


async def plan_endpoint(
    client: StripeClient,
    *,
    url: str,
    events: Sequence[str],
    api_version: str,
    secrets: Iterable[SecretStr] = (),
) -> EndpointPlan:
    """Compare the endpoint of the service with what it should be, and change nothing.

    Args:
        client: The client of Stripe's API.
        url: The URL of the service's webhook.
        events: The event types that the plugins want.
        api_version: The API version of a new endpoint.
        secrets: The signing secrets of the service. An endpoint with one of them is preferred.

    Raises:
        StripePermissionMissing: The key lacks the permission `webhook_read`.
        StripeUnavailable: Stripe does not answer.
    """
    existing = endpoints_at(await list_endpoints(client), url)
    known = tuple(secrets)
    existing.sort(key=lambda one: (one.is_unrecorded, not any(map(one.has_secret, known))))
    endpoint = existing[0] if existing else None
    is_rotating = any(one.is_successor for one in existing)
    others = () if is_rotating else tuple(existing[1:])
    return EndpointPlan(url, tuple(sorted(set(events))), api_version, endpoint, others)


async def apply_endpoint(
    client: StripeClient, plan: EndpointPlan, *, lost: BaseEndpoint | None = None
) -> WebhookEndpoint:
    """Create the endpoint of a plan, or change it. Concurrent calls create one endpoint.

    Args:
        client: The client of Stripe's API.
        plan: The plan.
        lost: An endpoint that the new one replaces.

    Returns:
        The endpoint, with its signing secret if it was created. Record it then with
        :func:`record_secret`.

    Raises:
        InvalidRequest: Stripe refuses the URL or an event type, or has 16 endpoints already.
        StripePermissionMissing: The key lacks the permission `webhook_write`.
        StripeUnavailable: Stripe does not answer.
    """
    calls = WebhookEndpointCalls(client.transport)
    if plan.endpoint is None:
        created = await create_endpoint(
            {
                "url": plan.url,
                "enabled_events": plan.events,
                "api_version": plan.api_version,
            },
            create=calls.create,
            list_existing=lambda: list_endpoints(client),
            lost=lost,
        )
        return parse_endpoint(created)
    if not plan.changes:
        return plan.endpoint
    return parse_endpoint(await calls.update(plan.endpoint.id, plan.changes))


async def record_secret(
    client: StripeClient, endpoint: WebhookEndpoint, secret: SecretStr, **changes: Any
) -> WebhookEndpoint:
    """Store the digest of a new endpoint's signing secret in its metadata.

    The digest says later which endpoint a secret belongs to, and whether the secret was lost.

    Args:
        client: The client of Stripe's API.
        endpoint: The endpoint.
        secret: Its signing secret.
        changes: Further parameters of the update.

    Raises:
        StripePermissionMissing: The key lacks the permission `webhook_write`.
        StripeUnavailable: Stripe does not answer.
    """
    changes["metadata"] = {SECRET_DIGEST: secret_digest(secret), **changes.get("metadata", {})}
    updated = await WebhookEndpointCalls(client.transport).update(endpoint.id, changes)
    return parse_endpoint(updated)
