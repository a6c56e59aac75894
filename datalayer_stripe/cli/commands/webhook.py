"""The commands `webhook sync`, `test` and `rotate`."""

from pathlib import Path

import click

from ..output.formats import format_options
from .lazy import runs
from .options import env_file_option, url_option

_ROTATION_WAIT_SECONDS = 60


@click.group(short_help="Sync, test and rotate the webhook endpoint.")
def webhook() -> None:
    """Keep the webhook endpoint at Stripe right, test it, and roll its secret."""


@webhook.command(short_help="Send the endpoint exactly the events that the plugins want.")
@url_option
@env_file_option
@click.option(
    "--dry-run", is_flag=True, help="Only show the difference; exit code 3 if there is any."
)
@click.option("--yes", is_flag=True, help="Do not ask.")
@runs("webhook:sync")
def sync() -> None:
    """Make Stripe send the endpoint exactly the event types that the loaded plugins handle.

    Run it after you have installed, removed or disabled a plugin. It shows the difference and asks
    before it changes the endpoint, also whether the endpoint is enabled. A destination of thin
    events with the same URL is changed in the same way. Other endpoints are not changed.
    """


@webhook.command("test", short_help="Send a signed test event through the public URL.")
@url_option
@env_file_option
@format_options
@runs("webhook:test_webhook")
def test_webhook() -> None:
    """Send signed test events to the public URL of the webhook, and explain what is wrong.

    The events take the way of Stripe's deliveries: DNS, TLS, proxies, signature. They have a type
    that no plugin handles, so that they have no effect and are not stored. One is sent for each
    signing secret, one in the format of Stripe, and a large one.

    Exit code 1: an event was not accepted.
    """


@webhook.command(short_help="Roll the signing secret without losing a delivery.")
@click.option(
    "--env-file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    required=True,
    help="Environment file that the service reads. Its values replace those of the environment, "
    "except the secret key.",
)
@url_option
@click.option(
    "--wait",
    type=click.IntRange(0),
    default=_ROTATION_WAIT_SECONDS,
    show_default=True,
    help="Seconds to wait for the restart of the service, and for pending deliveries.",
)
@click.option("--dry-run", is_flag=True, help="Only show the steps that are left.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@runs("webhook:rotate")
def rotate() -> None:
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
