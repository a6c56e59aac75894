"""Plan the webhook endpoint as steps of the set-up."""

from collections.abc import Sequence

from pydantic import SecretStr

from ..errors import InvalidRequest
from ..settings import variable
from ..stripe_api.client import StripeClient
from ..stripe_api.transport import STRIPE_VERSION
from .steps import Action, Save, Step
from .webhook_endpoints import (
    EndpointPlan,
    WebhookEndpoint,
    apply_endpoint,
    plan_endpoint,
    record_secret,
)

ENDPOINT_SUBJECT = "webhook endpoint"

_SECRET_VARIABLE = variable("stripe_webhook_secrets")
_WEBHOOKS_PAGE = "https://dashboard.stripe.com/webhooks"

_WITHOUT_URL = (
    "Run the command again with --url, the public address of the service. To try it on your own "
    "machine instead, let the Stripe CLI forward the events, and set "
    f"{_SECRET_VARIABLE} to the secret that `stripe listen --print-secret` prints."
)


def endpoint_by_hand(url: str, events: Sequence[str]) -> str:
    """Return how to create the endpoint by hand.

    Args:
        url: The URL of the webhook.
        events: The event types.
    """
    return (
        f"Add an endpoint for {url} at {_WEBHOOKS_PAGE}, with API version {STRIPE_VERSION} and the "
        f"events {', '.join(events)}. Then set {_SECRET_VARIABLE} to its signing secret."
    )


def without_url(secrets: Sequence[str]) -> list[Step]:
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
    client: StripeClient, *, url: str, events: Sequence[str], secrets: Sequence[str]
) -> list[Step]:
    """Return the steps after which Stripe sends the service exactly these events.

    Args:
        client: The client of Stripe's API.
        url: The URL of the webhook.
        events: The event types that the plugins want.
        secrets: The signing secrets of the configuration.
    """
    plan = await plan_endpoint(client, url=url, events=events, api_version=STRIPE_VERSION)
    if plan.endpoint is None:
        return [_create(client, plan, secrets)]
    return [_keep(client, plan, plan.endpoint), *_secret_steps(plan.endpoint, secrets)]


def _create(client: StripeClient, plan: EndpointPlan, secrets: Sequence[str]) -> Step:
    async def create(save: Save) -> None:
        endpoint = await apply_endpoint(client, plan)
        secret = endpoint.secret
        if secret is None:
            raise InvalidRequest(f"the answer has no signing secret of {endpoint.id}")
        save({_SECRET_VARIABLE: ",".join([secret.get_secret_value(), *secrets])})
        await record_secret(client, endpoint, secret)

    return Step(
        ENDPOINT_SUBJECT,
        Action.CREATE,
        f"{plan.url}, {len(plan.events)} event types, API version {plan.api_version}",
        create,
        sets=[_SECRET_VARIABLE],
        by_hand=endpoint_by_hand(plan.url, plan.events),
    )


def _keep(client: StripeClient, plan: EndpointPlan, endpoint: WebhookEndpoint) -> Step:
    version = endpoint.api_version or "the account's default"
    note = f", API version {version}" if plan.has_other_version else ""
    if plan.is_unchanged:
        return Step(ENDPOINT_SUBJECT, Action.UNCHANGED, f"{endpoint.id}, {plan.url}{note}")

    async def change(_save: Save) -> None:
        await apply_endpoint(client, plan)

    return Step(
        ENDPOINT_SUBJECT,
        Action.CHANGE,
        "; ".join(plan.lines()) + note,
        change,
        by_hand=f"Change {endpoint.id} at {_WEBHOOKS_PAGE}: its events have to be "
        f"{', '.join(plan.events)}.",
    )


def _secret_steps(endpoint: WebhookEndpoint, secrets: Sequence[str]) -> list[Step]:
    """Return a step by hand if the configuration does not have the endpoint's signing secret."""
    known = [endpoint.has_secret(SecretStr(secret)) for secret in secrets]
    # Without a digest in the metadata, nobody can tell whose secret it is.
    if any(one is not False for one in known):
        return []
    has = "none of the signing secrets is" if secrets else "there is no signing secret, which is"
    return [
        Step(
            "signing secret",
            Action.BY_HAND,
            f"{has} that of {endpoint.id}; Stripe's API shows it at the creation only",
            by_hand=f"Copy it from {_WEBHOOKS_PAGE} → {endpoint.id} → Signing secret to "
            f"{_SECRET_VARIABLE}. Or create a new one: `datalayer-stripe webhook rotate`.",
        )
    ]
