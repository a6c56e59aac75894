"""Checks of the webhook endpoint at Stripe, and of its deliveries."""

from collections.abc import Sequence
from urllib.parse import urlsplit

from ..provisioning.webhook_endpoints import WebhookEndpoint, endpoints_at
from ..reconciliation.findings import GRACE_PERIOD
from ..settings import variable
from ..store.event_records import FAILED
from ..stripe_api.transport import STRIPE_VERSION
from .checks import Subject
from .context import CannotCheck, CheckContext

SUBJECT = Subject("endpoint")

_ALL_EVENTS = "*"
_MAX_NAMED = 3


@SUBJECT.error(
    "exists",
    "Stripe has an endpoint for this service.",
    advice="Add it at https://dashboard.stripe.com/webhooks. Without an endpoint, payments are "
    "credited by the next reconciliation only.",
)
async def exists(context: CheckContext) -> Sequence[str]:
    if await _candidates(context):
        return []
    if context.endpoint_url:
        return [f"No webhook endpoint has the URL {context.endpoint_url}."]
    return [f"No webhook endpoint has a URL that ends with {context.webhook_path}."]


@SUBJECT.error(
    "url",
    "The endpoint has the URL of this service.",
    advice="Correct the URL of the endpoint at https://dashboard.stripe.com/webhooks.",
)
async def url(context: CheckContext) -> Sequence[str]:
    endpoint = await _endpoint(context)
    if context.endpoint_url and endpoint.url != context.endpoint_url:
        return [f"{endpoint.id} has the URL {endpoint.url}, not {context.endpoint_url}."]
    if not _has_path(endpoint, context.webhook_path):
        return [f"{endpoint.id} has the URL {endpoint.url}, without {context.webhook_path}."]
    if context.settings.livemode and not endpoint.url.startswith("https://"):
        return [f"{endpoint.id} has the URL {endpoint.url}, which is not https."]
    return []


@SUBJECT.warning(
    "single",
    "Stripe sends each event to this service once.",
    advice="Delete the endpoints that are not needed at https://dashboard.stripe.com/webhooks. "
    "Copies of an event have no second effect, but each is a request.",
)
async def single(context: CheckContext) -> Sequence[str]:
    endpoint = await _endpoint(context)
    same = endpoints_at(await context.account.webhook_endpoints(), endpoint.url)
    enabled = [one.id for one in same if one.status == "enabled"]
    return [f"{', '.join(enabled)} have the same URL."] if len(enabled) > 1 else []


@SUBJECT.error(
    "enabled",
    "The endpoint is enabled.",
    advice="Enable it at "
    "https://dashboard.stripe.com/webhooks. Then run `datalayer-stripe reconcile`.",
)
async def enabled(context: CheckContext) -> Sequence[str]:
    endpoint = await _endpoint(context)
    if endpoint.status == "enabled":
        return []
    return [f"{endpoint.id} is disabled: Stripe sends no events."]


@SUBJECT.error(
    "secret",
    "Its signing secret is in the settings.",
    advice=f"Set {variable('stripe_webhook_secrets')} to the endpoint's signing secret, from "
    "https://dashboard.stripe.com/webhooks.",
)
async def secret(context: CheckContext) -> Sequence[str]:
    endpoint = await _endpoint(context)
    known = [endpoint.has_secret(one) for one in context.settings.stripe_webhook_secrets]
    if True in known:
        return []
    if False in known:
        return [f"None of the signing secrets in the settings is that of {endpoint.id}."]
    raise CannotCheck(f"Stripe does not show the secret of {endpoint.id}")


@SUBJECT.error(
    "events",
    "It is sent all events of the plugins.",
    advice="Add the events at "
    "https://dashboard.stripe.com/webhooks. Then run `datalayer-stripe reconcile`.",
)
async def events(context: CheckContext) -> Sequence[str]:
    endpoint = await _endpoint(context)
    missing = sorted(set(context.registry.types) - set(endpoint.enabled_events))
    if not missing or _ALL_EVENTS in endpoint.enabled_events:
        return []
    return [f"{endpoint.id} is not sent {_named(missing)}."]


@SUBJECT.warning(
    "other-events",
    "It is sent no other events.",
    advice="Remove the events at "
    "https://dashboard.stripe.com/webhooks. They are answered and ignored.",
)
async def other_events(context: CheckContext) -> Sequence[str]:
    endpoint = await _endpoint(context)
    other = sorted(set(endpoint.enabled_events) - set(context.registry.types))
    if not other:
        return []
    return [f"{endpoint.id} is sent {'all events' if _ALL_EVENTS in other else _named(other)}."]


@SUBJECT.warning(
    "api-version",
    "Its events have our API version.",
    advice="Deliveries of other versions are read, too, as far as they are known. To change the "
    "version, create another endpoint.",
)
async def api_version(context: CheckContext) -> Sequence[str]:
    endpoint = await _endpoint(context)
    if endpoint.api_version == STRIPE_VERSION:
        return []
    version = endpoint.api_version or "the account's default version"
    return [f"{endpoint.id} has {version}, not {STRIPE_VERSION}."]


@SUBJECT.warning(
    "deliveries",
    "All recent events were delivered.",
    advice="The endpoint's page at https://dashboard.stripe.com/webhooks shows why deliveries "
    "fail. Then run `datalayer-stripe "
    "reconcile`.",
)
async def deliveries(context: CheckContext) -> Sequence[str]:
    latest = (context.clock() - GRACE_PERIOD).timestamp()
    found = await context.account.undelivered_events(context.registry.types)
    undelivered = [event["id"] for event in found if event["created"] <= latest]
    if undelivered and context.found_store is not None:
        # Stripe counts the other endpoints of the account, too.
        runs = await context.found_store.events.runs(undelivered)
        delivered = {event_id for event_id, run in runs.items() if FAILED not in run.values()}
        undelivered = [one for one in undelivered if one not in delivered]
    if not undelivered:
        return []
    number = len(undelivered)
    return [
        f"{number:,} event{'s' if number > 1 else ''} of the last three days "
        f"{'are' if number > 1 else 'is'} not delivered, such as {undelivered[0]}."
    ]


async def _candidates(context: CheckContext) -> Sequence[WebhookEndpoint]:
    """Return the endpoints that may be this service's, the likeliest first."""
    found = await context.account.webhook_endpoints()
    if context.endpoint_url and (same := endpoints_at(found, context.endpoint_url)):
        return same
    ours = [
        one
        for one in found
        if not one.is_successor and (one.is_managed or _has_path(one, context.webhook_path))
    ]
    return sorted(
        ours,
        key=lambda one: (
            one.status != "enabled",
            not _has_path(one, context.webhook_path),
            not one.is_managed,
        ),
    )


async def _endpoint(context: CheckContext) -> WebhookEndpoint:
    """Return the endpoint of this service.

    Raises:
        CannotCheck: There is none.
    """
    found = await _candidates(context)
    if not found:
        raise CannotCheck("there is no endpoint")
    return found[0]


def _has_path(endpoint: WebhookEndpoint, path: str) -> bool:
    return urlsplit(endpoint.url).path.rstrip("/").endswith(path)


def _named(types: Sequence[str]) -> str:
    """Return some event types, and the number of the others."""
    more = len(types) - _MAX_NAMED
    named = ", ".join(types[:_MAX_NAMED])
    return f"{named} and {more} more" if more > 0 else named
