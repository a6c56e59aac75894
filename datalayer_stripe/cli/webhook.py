"""The commands `webhook sync`, `webhook test` and `webhook rotate`."""

import sys
from collections.abc import Collection, Sequence
from pathlib import Path
from urllib.parse import urlsplit

import click

from ..configuration import Configuration
from ..errors import StripePermissionMissing
from ..handlers.urls import WEBHOOK_PATH
from ..provisioning.env_file import EnvFile
from ..provisioning.event_destination import (
    DestinationPlan,
    apply_destination,
    list_visible_destinations,
    plan_destination,
)
from ..provisioning.pending_deliveries import KnownEvents, Timing
from ..provisioning.rotation import Rotation, RotationTarget
from ..provisioning.round_trip import Attempt, RoundTrip
from ..provisioning.webhook_endpoints import (
    EndpointPlan,
    apply_endpoint,
    choose_url,
    list_endpoints,
    plan_endpoint,
)
from ..settings import Settings, variable
from ..settings_checks import LOCAL_HOSTS
from ..store import connect
from ..store.connect import MEMORY_URL
from ..stripe_api.client import StripeClient
from ..stripe_api.transport import STRIPE_VERSION
from .common import DIFFERENCES_EXIT_CODE, command_client, fail, run
from .output.exports import print_json
from .output.formats import Format
from .output.tables import Column, as_records, print_rows_as_csv, print_table
from .output.terminal import print_line, print_paragraph
from .webhook_configuration import configuration_of

_ATTEMPT_COLUMNS: Sequence[Column[Attempt]] = (
    Column("sent", lambda one: one.name, head="SENT"),
    Column("status", lambda one: one.status, head="STATUS"),
    Column(
        "milliseconds",
        lambda one: round(one.seconds * 1000),
        head="TIME",
        text=lambda one: f"{one.seconds * 1000:.0f} ms",
    ),
    Column(
        "result",
        lambda one: one.explanation or "accepted",
        head="RESULT",
        style=lambda one: "red" if one.problem else "green",
    ),
)


def sync(url: str | None, env_file: Path | None, dry_run: bool, yes: bool) -> None:
    """Make Stripe send the endpoint exactly the event types that the loaded plugins handle."""
    configuration = configuration_of(env_file)

    async def compare() -> tuple[EndpointPlan, DestinationPlan]:
        events = configuration.registry.types
        async with command_client(configuration.settings) as client:
            address = url or await _url_at_stripe(client)
            return (
                await plan_endpoint(client, url=address, events=events, api_version=STRIPE_VERSION),
                await _plan_destination(client, address, events),
            )

    async def change(endpoint: EndpointPlan, destination: DestinationPlan) -> None:
        async with command_client(configuration.settings) as client:
            if endpoint.changes:
                await apply_endpoint(client, endpoint)
            if destination.destination is not None and not destination.is_unchanged:
                await apply_destination(client, destination)

    endpoint, destination = run(compare())
    if endpoint.creates and destination.destination is None:
        fail(
            f"Stripe has no webhook endpoint for {endpoint.url}. Check the URL, and whether the "
            "key is of the right account and mode. `datalayer-stripe setup` creates the endpoint."
        )
    is_unchanged = _print_plans(endpoint, destination)
    if is_unchanged:
        return
    if dry_run:
        sys.exit(DIFFERENCES_EXIT_CODE)
    if not yes:
        click.confirm("Change it?", abort=True)
    run(change(endpoint, destination))
    print_line(f"Changed. Stripe sends {len(endpoint.events)} event types.")


def test_webhook(url: str | None, env_file: Path | None, output: Format) -> None:
    """Send signed test events to the public URL of the webhook, and explain what is wrong."""
    settings = configuration_of(env_file).settings
    disabled: list[str] = []

    async def send() -> tuple[str, list[Attempt]]:
        address = url
        if address is None:
            async with command_client(settings) as client:
                address = await _url_at_stripe(client)
                endpoints = await list_endpoints(client)
            disabled.extend(
                one.id
                for one in endpoints
                if one.url == address and not one.is_enabled and not one.is_successor
            )
        round_trip = RoundTrip(address, webhook_path=WEBHOOK_PATH, livemode=settings.livemode)
        try:
            return address, await round_trip.run(settings.stripe_webhook_secrets)
        finally:
            round_trip.close()

    address, attempts = run(send())
    has_problem = any(one.problem for one in attempts)
    match output:
        case Format.JSON:
            results = as_records(_ATTEMPT_COLUMNS, attempts)
            print_json({"url": address, "sent": results, "disabled_endpoints": disabled})
        case Format.CSV:
            print_rows_as_csv(_ATTEMPT_COLUMNS, attempts)
        case Format.TEXT:
            _print_attempts(address, attempts, disabled)
            if not has_problem:
                _print_success(address)
    if has_problem:
        sys.exit(1)


def rotate(env_file: Path, url: str | None, wait: int, dry_run: bool, yes: bool) -> None:
    """Roll the signing secret of the webhook, with both secrets accepted in between."""
    configuration = configuration_of(env_file, creates_secret=True)

    async def work(*, only_steps: bool) -> tuple[list[str], bool]:
        async with command_client(configuration.settings) as client:
            target = await _target(client, configuration, url)
            round_trip = RoundTrip(
                target.url,
                webhook_path=WEBHOOK_PATH,
                livemode=configuration.settings.livemode,
            )
            rotation = Rotation(
                client,
                EnvFile.read(env_file),
                target,
                round_trip,
                Timing(wait),
                known_events=_known_events(configuration.settings),
                say=print_paragraph,
            )
            try:
                if only_steps:
                    return await rotation.steps(), False
                return [], await rotation.run()
            finally:
                round_trip.close()

    if dry_run or not yes:
        steps, _ = run(work(only_steps=True))
        for number, step in enumerate(steps, start=1):
            print_paragraph(step, prefix=f"{number}. ")
        if dry_run:
            return
        click.confirm("Begin?", abort=True)
    _, is_complete = run(work(only_steps=False))
    if not is_complete:
        sys.exit(DIFFERENCES_EXIT_CODE)


async def _url_at_stripe(client: StripeClient) -> str:
    """Return the URL of the webhook that Stripe has for this service."""
    destinations = await list_visible_destinations(client)
    return choose_url([*await list_endpoints(client), *destinations], WEBHOOK_PATH)


async def _plan_destination(
    client: StripeClient, url: str, events: Sequence[str]
) -> DestinationPlan:
    """Return the plan for the destination of thin events; a key that may not see it has none."""
    try:
        return await plan_destination(client, url=url, events=events)
    except StripePermissionMissing:
        return DestinationPlan(url, ())


def _print_plans(endpoint: EndpointPlan, destination: DestinationPlan) -> bool:
    """Print what differs, and return whether nothing does."""
    if not endpoint.creates:
        for line in endpoint.lines():
            print_paragraph(line)
    if endpoint.has_other_version and endpoint.endpoint is not None:
        version = endpoint.endpoint.api_version or "that is the default of the account"
        print_paragraph(
            f"The endpoint has the API version {version}, and this service {endpoint.api_version}. "
            "The service reads both; `datalayer-stripe webhook rotate` changes it."
        )
    if destination.destination is not None:
        for line in destination.lines() or ["unchanged"]:
            print_paragraph(f"event destination {destination.destination.id}: {line}")
    has_thin_changes = destination.destination is not None and not destination.is_unchanged
    return not endpoint.changes and not has_thin_changes


async def _target(
    client: StripeClient, configuration: Configuration, url: str | None
) -> RotationTarget:
    return RotationTarget(
        url=url or await _url_at_stripe(client),
        events=configuration.registry.types,
        api_version=STRIPE_VERSION,
        variable=variable("stripe_webhook_secrets"),
    )


def _known_events(settings: Settings) -> KnownEvents | None:
    """Return a function that looks events up in the service's database, if there is one."""
    url = settings.stripe_mongodb_url.get_secret_value()
    if url.startswith(MEMORY_URL):
        return None

    async def known(event_ids: Sequence[str]) -> Collection[str]:
        store = await connect(
            url, livemode=settings.livemode, driver=settings.stripe_mongodb_driver
        )
        try:
            return await store.events.needing_no_delivery(event_ids)
        finally:
            await store.close()

    return known


def _print_attempts(address: str, attempts: Sequence[Attempt], disabled: Sequence[str]) -> None:
    """Print the result of a test, and what Stripe's side lacks, which a test event does not show.

    Args:
        address: The URL of the webhook.
        attempts: What was sent.
        disabled: The ids of the endpoints with this URL that are disabled.
    """
    for endpoint_id in disabled:
        print_paragraph(
            f"Stripe sends nothing: the endpoint {endpoint_id} is disabled. Enable it with "
            "`datalayer-stripe webhook sync`."
        )
        print_line()
    print_line(address)
    print_line()
    print_table(_ATTEMPT_COLUMNS, attempts)


def _print_success(address: str) -> None:
    print_line()
    print_line("The webhook works.")
    if urlsplit(address).scheme == "http" and urlsplit(address).hostname not in LOCAL_HOSTS:
        print_line("In live mode Stripe sends events to https URLs only.")
