"""Checks of what sends events to this service, and of their deliveries.

It is the webhook endpoint at Stripe, a destination for thin events, or both.
"""

from collections.abc import Sequence

from ..errors import CannotCheck
from ..provisioning.round_trip import RoundTrip
from ..provisioning.webhook_endpoints import endpoints_at
from ..reconciliation.findings import GRACE_PERIOD
from ..settings import variable
from ..stripe_api.transport import STRIPE_VERSION
from .checks import Subject
from .context import CheckContext
from .event_sources import ALL_EVENTS, existing_sources, find_sources

SUBJECT = Subject("endpoint")

ANSWER_SECONDS = 8.0
"""How long the check waits for each answer of the service."""

_MAX_NAMED = 3
_WEBHOOKS_PAGE = "https://dashboard.stripe.com/webhooks"


@SUBJECT.error(
    "exists",
    "Stripe has an endpoint for this service.",
    advice=f"Run `datalayer-stripe setup` with `--url`, or add it at {_WEBHOOKS_PAGE}. Without an "
    "endpoint, payments are credited by the next reconciliation only.",
)
async def exists(context: CheckContext) -> Sequence[str]:
    if await find_sources(context):
        return []
    if context.endpoint_url:
        return [f"No webhook endpoint has the URL {context.endpoint_url}."]
    return [f"No webhook endpoint has a URL that ends with {context.webhook_path}."]


@SUBJECT.error(
    "url",
    "The endpoint has the URL of this service.",
    advice=f"Correct the URL of the endpoint at {_WEBHOOKS_PAGE}, or run `datalayer-stripe setup` "
    "with the right `--url`.",
)
async def url(context: CheckContext) -> Sequence[str]:
    problems = []
    for source in await existing_sources(context):
        has = f"{source.id} has the URL {source.shown_url}"
        if context.endpoint_url and source.url != context.endpoint_url:
            problems.append(f"{has}, not {context.endpoint_url}.")
        elif not source.has_path(context.webhook_path):
            problems.append(f"{has}, without {context.webhook_path}.")
        elif context.settings.livemode and not source.url.startswith("https://"):
            problems.append(f"{has}, which is not https.")
    return problems


@SUBJECT.warning(
    "single",
    "Stripe has one endpoint for the URL.",
    advice=f"Delete the endpoints that are not needed at {_WEBHOOKS_PAGE}. Copies of an event have "
    "no second effect, but each is a request.",
)
async def single(context: CheckContext) -> Sequence[str]:
    endpoints = await context.account.webhook_endpoints()
    urls = {source.url for source in await existing_sources(context) if source.endpoint}
    problems = []
    for one in urls:
        ids = [found.id for found in endpoints_at(endpoints, one) if not found.is_idle]
        if len(ids) > 1:
            problems.append(f"{', '.join(ids)} have the same URL.")
    return problems


@SUBJECT.error(
    "enabled",
    "The endpoint is enabled.",
    advice=f"Run `datalayer-stripe webhook sync`, or enable it at {_WEBHOOKS_PAGE}. Then run "
    "`datalayer-stripe reconcile`.",
)
async def enabled(context: CheckContext) -> Sequence[str]:
    return [
        f"{source.id} is disabled: Stripe sends no events."
        for source in await existing_sources(context)
        if not source.is_enabled
    ]


@SUBJECT.error(
    "secret",
    "Its signing secret is in the settings.",
    advice=f"Set {variable('stripe_webhook_secrets')} to the endpoint's signing secret, from "
    f"{_WEBHOOKS_PAGE}; or run `datalayer-stripe webhook rotate --env-file …`.",
)
async def secret(context: CheckContext) -> Sequence[str]:
    problems, unknown = [], []
    for source in await existing_sources(context):
        known = list(map(source.has_secret, context.settings.stripe_webhook_secrets))
        if True in known:
            continue
        if False in known:
            problems.append(f"None of the signing secrets in the settings is that of {source.id}.")
        else:
            unknown.append(source.id)
    if unknown and not problems:
        raise CannotCheck(f"Stripe does not show the secret of {', '.join(unknown)}")
    return problems


@SUBJECT.error(
    "answers",
    "A signed test event is accepted there.",
    advice="Do what the line says. `datalayer-stripe webhook test` sends more test events, and "
    "explains each answer.",
)
async def answers(context: CheckContext) -> Sequence[str]:
    source = (await existing_sources(context))[0]
    round_trip = RoundTrip(
        source.url,
        webhook_path=context.webhook_path,
        livemode=context.settings.livemode,
        clock=context.clock,
        timeout=ANSWER_SECONDS,
    )
    signing = context.settings.stripe_webhook_secrets
    own = [one for one in signing if source.has_secret(one)]
    try:
        attempts = [await round_trip.send(one) for one in own or signing]
    finally:
        round_trip.close()
    if all(attempt.status is None for attempt in attempts):
        # A private network may not reach its own public address.
        raise CannotCheck(f"{source.shown_url} does not answer from this machine")
    # Other secrets in the settings may be those of endpoints that do not exist any more.
    accepted = [attempt.problem is None for attempt in attempts]
    if all(accepted) if own else any(accepted):
        return []
    explanations = dict.fromkeys(one.explanation for one in attempts)
    return [f"{source.shown_url}: {text}" for text in explanations]


@SUBJECT.error(
    "events",
    "It is sent all events of the plugins.",
    advice=f"Run `datalayer-stripe webhook sync`, or add the events at {_WEBHOOKS_PAGE}. Then run "
    "`datalayer-stripe reconcile`.",
)
async def events(context: CheckContext) -> Sequence[str]:
    sources = await existing_sources(context)
    sent = frozenset[str]().union(*(source.types for source in sources))
    missing = sorted(set(context.registry.types) - sent)
    if not missing or ALL_EVENTS in sent:
        return []
    ids = " and ".join(source.id for source in sources)
    return [f"{ids} {'is' if len(sources) == 1 else 'are'} not sent {_named(missing)}."]


@SUBJECT.warning(
    "other-events",
    "It is sent no other events.",
    advice=f"Run `datalayer-stripe webhook sync`, or remove the events at {_WEBHOOKS_PAGE}. They "
    "are answered and ignored.",
)
async def other_events(context: CheckContext) -> Sequence[str]:
    wanted = set(context.registry.types)
    others = {one.id: sorted(one.types - wanted) for one in await existing_sources(context)}
    return [
        f"{source_id} is sent {'all events' if ALL_EVENTS in types else _named(types)}."
        for source_id, types in others.items()
        if types
    ]


@SUBJECT.warning(
    "api-version",
    "Its events have our API version.",
    advice="Deliveries of other versions are read, too, as far as they are known. To change the "
    "version, run `datalayer-stripe webhook rotate --env-file …`, which creates a new endpoint.",
)
async def api_version(context: CheckContext) -> Sequence[str]:
    # A thin event has no version: the service reads the event itself, in its own version.
    endpoints = [one.endpoint for one in await existing_sources(context) if one.endpoint]
    return [
        f"{one.id} has {one.api_version or 'the default version of the account'}, not "
        f"{STRIPE_VERSION}."
        for one in endpoints
        if one.api_version != STRIPE_VERSION
    ]


@SUBJECT.warning(
    "deliveries",
    "All recent events were delivered.",
    advice="`datalayer-stripe webhook test` shows what answers at the URL, and the endpoint's page "
    f"at {_WEBHOOKS_PAGE} why deliveries fail. Then run `datalayer-stripe reconcile`.",
)
async def deliveries(context: CheckContext) -> Sequence[str]:
    latest = (context.clock() - GRACE_PERIOD).timestamp()
    found = await context.account.undelivered_events(context.registry.types)
    undelivered = [event["id"] for event in found if event["created"] <= latest]
    if undelivered and context.found_store is not None:
        # Stripe counts the other endpoints of the account, too.
        delivered = await context.found_store.events.needing_no_delivery(undelivered)
        undelivered = [one for one in undelivered if one not in delivered]
    if not undelivered:
        return []
    number = len(undelivered)
    return [
        f"{number:,} event{'s' if number > 1 else ''} of the last three days "
        f"{'are' if number > 1 else 'is'} not delivered, such as {undelivered[0]}."
    ]


def _named(types: Sequence[str]) -> str:
    """Return some event types, and the number of the others."""
    more = len(types) - _MAX_NAMED
    named = ", ".join(types[:_MAX_NAMED])
    return f"{named} and {more} more" if more > 0 else named
