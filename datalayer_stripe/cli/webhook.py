"""The commands `webhook sync`, `webhook test` and `webhook rotate`."""

import os
import sys
from collections.abc import Collection, Sequence
from pathlib import Path
from urllib.parse import urlsplit

import click

from ..configuration import Configuration
from ..errors import StartError
from ..handlers.urls import WEBHOOK_PATH
from ..logs import configure_logging
from ..provisioning.env_file import EnvFile
from ..provisioning.pending_deliveries import KnownEvents, Timing
from ..provisioning.rotation import Rotation, RotationTarget
from ..provisioning.round_trip import Attempt, RoundTrip
from ..provisioning.webhook_endpoints import (
    EndpointPlan,
    WebhookEndpoint,
    apply_endpoint,
    choose_url,
    list_endpoints,
    plan_endpoint,
)
from ..settings import Settings, variable
from ..settings_checks import LOCAL_HOSTS, check_url
from ..store import connect
from ..store.connect import MEMORY_URL
from ..stripe_api.client import StripeClient
from ..stripe_api.transport import STRIPE_VERSION
from .common import (
    DIFFERENCES_EXIT_CODE,
    command_client,
    fail,
    load_configuration,
    print_table,
    run,
)

_PREFIX = "DATALAYER_"
_ROTATION_WAIT_SECONDS = 60


class WebhookUrl(click.ParamType[str]):
    """Option type for the URL of a webhook."""

    name = "url"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Return the URL."""
        try:
            check_url(value, ("https", "http"))
        except ValueError as error:
            self.fail(f"The URL {error}.", param, ctx)
        return value


_url_option = click.option(
    "--url",
    type=WebhookUrl(),
    help="URL of the webhook. Default: that of the endpoint that Stripe has for this service.",
)


@click.group()
def webhook() -> None:
    """Keep the webhook endpoint at Stripe right, test it, and roll its secret."""


@webhook.command(short_help="Send the endpoint exactly the events that the plugins want.")
@_url_option
@click.option(
    "--env-file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Environment file. Its values replace those of the environment.",
)
@click.option(
    "--dry-run", is_flag=True, help="Only show the difference; exit code 3 if there is any."
)
@click.option("--yes", is_flag=True, help="Do not ask.")
def sync(url: str | None, env_file: Path | None, dry_run: bool, yes: bool) -> None:
    """Make Stripe send the endpoint exactly the event types that the loaded plugins handle.

    Run it after you have installed, removed or disabled a plugin. It shows the difference and asks
    before it changes the endpoint, also whether the endpoint is enabled. Other endpoints are not
    changed.
    """
    configuration = _configuration(env_file)

    async def compare() -> EndpointPlan:
        async with command_client(configuration.settings) as client:
            return await plan_endpoint(
                client,
                url=url or choose_url(await list_endpoints(client), WEBHOOK_PATH),
                events=configuration.registry.types,
                api_version=STRIPE_VERSION,
            )

    async def change(plan: EndpointPlan) -> None:
        async with command_client(configuration.settings) as client:
            await apply_endpoint(client, plan)

    plan = run(compare())
    if plan.creates:
        fail(
            f"Stripe has no webhook endpoint for {plan.url}. Check the URL, and whether the key is "
            "of the right account and mode."
        )
    for line in plan.lines():
        click.echo(line)
    if plan.has_other_version and plan.endpoint is not None:
        click.echo(
            f"The endpoint has the API version {plan.endpoint.api_version}, and this service "
            f"{plan.api_version}. The service reads both; `webhook rotate` changes it."
        )
    if plan.is_unchanged:
        return
    if dry_run:
        sys.exit(DIFFERENCES_EXIT_CODE)
    if not yes:
        click.confirm("Change it?", abort=True)
    run(change(plan))
    click.echo(f"Changed. Stripe sends {len(plan.events)} event types.")


@webhook.command("test", short_help="Send a signed test event through the public URL.")
@_url_option
@click.option(
    "--env-file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Environment file. Its values replace those of the environment.",
)
def test_webhook(url: str | None, env_file: Path | None) -> None:
    """Send signed test events to the public URL of the webhook, and explain what is wrong.

    The events take the way of Stripe's deliveries: DNS, TLS, proxies, signature. They have a type
    that no plugin handles, so that they have no effect and are not stored. One is sent for each
    signing secret, one in the format of Stripe, and a large one.

    Exit code 1: an event was not accepted.
    """
    settings = _configuration(env_file).settings

    async def send() -> tuple[str, list[Attempt]]:
        address = url
        if address is None:
            async with command_client(settings) as client:
                endpoints = await list_endpoints(client)
            address = choose_url(endpoints, WEBHOOK_PATH)
            _print_endpoint_faults([one for one in endpoints if one.url == address])
        round_trip = RoundTrip(address, livemode=settings.livemode)
        try:
            return address, await round_trip.run(settings.stripe_webhook_secrets)
        finally:
            round_trip.close()

    address, attempts = run(send())
    click.echo(f"{address}\n")
    print_table(("SENT", "STATUS", "TIME", "RESULT"), map(_row, attempts))
    problems = [one for one in attempts if one.problem]
    if problems:
        sys.exit(1)
    click.echo("\nThe webhook works.")
    if urlsplit(address).scheme == "http" and urlsplit(address).hostname not in LOCAL_HOSTS:
        click.echo("In live mode Stripe sends events to https URLs only.")


@webhook.command(short_help="Roll the signing secret without losing a delivery.")
@click.option(
    "--env-file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    required=True,
    help="Environment file that the service reads. Its values replace those of the environment.",
)
@_url_option
@click.option(
    "--wait",
    type=click.IntRange(0),
    default=_ROTATION_WAIT_SECONDS,
    show_default=True,
    help="Seconds to wait for the restart of the service, and for pending deliveries.",
)
@click.option("--dry-run", is_flag=True, help="Only show the steps that are left.")
@click.option("--yes", is_flag=True, help="Do not ask.")
def rotate(env_file: Path, url: str | None, wait: int, dry_run: bool, yes: bool) -> None:
    """Roll the signing secret of the webhook, with both secrets accepted in between.

    Stripe gives a secret only when an endpoint is created. So the command creates a second
    endpoint with the same URL, which Stripe sends nothing yet, and writes its secret to the
    environment file beside the present one. Restart the service, and run the command again: it
    proves that the service accepts the new secret, enables the new endpoint, waits until no
    delivery to the old one is pending, deletes the old one, and removes its secret from the file.

    You can interrupt the command at any time and run it again: it finds at Stripe and in the file
    what is left to do.

    Exit code 3: something is left to do, and the output says what.
    """
    configuration = _configuration(env_file)

    async def work(*, only_steps: bool) -> tuple[list[str], bool]:
        async with command_client(configuration.settings) as client:
            target = await _target(client, configuration, url)
            round_trip = RoundTrip(target.url, livemode=configuration.settings.livemode)
            rotation = Rotation(
                client,
                EnvFile.read(env_file),
                target,
                round_trip,
                Timing(wait),
                known_events=_known_events(configuration.settings),
                say=click.echo,
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
            click.echo(f"{number}. {step}")
        if dry_run:
            return
        click.confirm("Begin?", abort=True)
    _, is_complete = run(work(only_steps=False))
    if not is_complete:
        sys.exit(DIFFERENCES_EXIT_CODE)


def _configuration(env_file: Path | None) -> Configuration:
    """Read the configuration, with the values of a file in place of those of the environment."""
    configure_logging(level="ERROR")
    if env_file is not None:
        try:
            values = dict(EnvFile.read(env_file))
        except StartError as error:
            fail(str(error))
        os.environ.update({name: one for name, one in values.items() if name.startswith(_PREFIX)})
    return load_configuration(running_plugins=False)


async def _target(
    client: StripeClient, configuration: Configuration, url: str | None
) -> RotationTarget:
    return RotationTarget(
        url=url or choose_url(await list_endpoints(client), WEBHOOK_PATH),
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
            return await store.events.runs(event_ids)
        finally:
            await store.close()

    return known


def _print_endpoint_faults(endpoints: Sequence[WebhookEndpoint]) -> None:
    """Print what Stripe's side of the webhook lacks, which a test event does not show."""
    for endpoint in endpoints:
        if endpoint.status != "enabled" and not endpoint.is_successor:
            click.echo(
                f"Stripe sends nothing: the endpoint {endpoint.id} is disabled. Enable it with "
                "`datalayer-stripe webhook sync`.\n"
            )


def _row(attempt: Attempt) -> tuple[str, str, str, str]:
    status = "-" if attempt.status is None else str(attempt.status)
    return (
        attempt.name,
        status,
        f"{attempt.seconds * 1000:.0f} ms",
        attempt.explanation or "accepted",
    )
