"""Plan the webhook endpoint as steps of the set-up."""

from collections.abc import Sequence
from dataclasses import replace

from ..stripe_api.client import StripeClient
from ..stripe_api.transport import STRIPE_VERSION
from ..stripe_api.webhook_endpoints import WebhookEndpointCalls
from .base_steps import create_step, keep_step
from .signing_secrets import SECRET_VARIABLE, WEBHOOKS_PAGE, SigningSecrets
from .steps import Action, Step
from .webhook_endpoints import (
    EndpointPlan,
    WebhookEndpoint,
    apply_endpoint,
    list_endpoints,
    plan_endpoint,
    record_secret,
)

ENDPOINT_SUBJECT = "webhook endpoint"

_WITHOUT_URL = (
    "Run the command again with --url, the public address of the service. To try it on your own "
    "machine instead, let the Stripe CLI forward the events, and set "
    f"{SECRET_VARIABLE} to the secret that `stripe listen --print-secret` prints."
)


def endpoint_by_hand(url: str, events: Sequence[str]) -> str:
    """Return how to create the endpoint by hand.

    Args:
        url: The URL of the webhook.
        events: The event types.
    """
    return (
        f"Add an endpoint for {url} at {WEBHOOKS_PAGE}, with API version {STRIPE_VERSION} and the "
        f"events {', '.join(events)}. Then set {SECRET_VARIABLE} to its signing secret."
    )


def without_url(secrets: SigningSecrets) -> list[Step]:
    """Return the step if the address of the service is not known yet.

    Args:
        secrets: The signing secrets of the configuration.
    """
    if secrets:
        detail = "left as it is, without --url"
        return [Step(ENDPOINT_SUBJECT, Action.UNCHANGED, detail)]
    detail = "the address of the service is needed"
    return [Step(ENDPOINT_SUBJECT, Action.BY_HAND, detail, by_hand=_WITHOUT_URL)]


async def plan_endpoint_steps(
    client: StripeClient, *, url: str, events: Sequence[str], secrets: SigningSecrets
) -> list[Step]:
    """Return the steps after which Stripe sends the service exactly these events.

    Args:
        client: The client of Stripe's API.
        url: The URL of the webhook.
        events: The event types that the plugins want.
        secrets: The signing secrets of the configuration.
    """
    plan = await plan_endpoint(
        client, url=url, events=events, api_version=STRIPE_VERSION, secrets=secrets
    )
    others = [_second(one) for one in plan.others]
    existing = plan.endpoint
    if existing is None or existing.is_unrecorded:
        return [_create(client, replace(plan, endpoint=None), secrets, lost=existing), *others]
    version = existing.api_version or "the account's default"
    keep = keep_step(
        ENDPOINT_SUBJECT,
        existing,
        plan,
        apply=lambda: apply_endpoint(client, plan),
        note=f", API version {version}" if plan.has_other_version else "",
    )
    instead = "Or create a new one: `datalayer-stripe webhook rotate --env-file FILE`."
    return [keep, *await secrets.missing_steps(client, existing, instead=instead), *others]


def _create(
    client: StripeClient, plan: EndpointPlan, secrets: SigningSecrets, lost: WebhookEndpoint | None
) -> Step:
    async def delete_lost(lost_id: str) -> None:
        if any(one.id == lost_id and one.is_unrecorded for one in await list_endpoints(client)):
            await WebhookEndpointCalls(client.transport).delete(lost_id)

    return create_step(
        ENDPOINT_SUBJECT,
        f"{plan.url}, {len(plan.events)} event types, API version {plan.api_version}",
        secrets=secrets,
        create=lambda: apply_endpoint(client, plan, lost=lost),
        record=lambda endpoint, secret: record_secret(client, endpoint, secret),
        delete_lost=delete_lost,
        lost=lost,
        by_hand=endpoint_by_hand(plan.url, plan.events),
    )


def _second(endpoint: WebhookEndpoint) -> Step:
    return Step(
        "second webhook endpoint",
        Action.BY_HAND,
        f"{endpoint.id} has the same URL, so that Stripe sends each event twice",
        by_hand=f"Delete {endpoint.id} at {WEBHOOKS_PAGE}.",
    )
