"""The commands `events list`, `show`, `replay` and `accept`."""

import click

from ..output.formats import format_options
from .lazy import runs
from .options import Since, event_type_values


@click.group()
def events() -> None:
    """List, show, replay and accept received events."""


@events.command("list")
@click.option("--failed", is_flag=True, help="Only events that a plugin has failed; it will retry.")
@click.option("--rejected", is_flag=True, help="Only events that a plugin has rejected.")
@click.option("--deferred", is_flag=True, help="Only events whose deferred work is not done yet.")
@click.option(
    "--type",
    "event_type",
    shell_complete=event_type_values,
    help="Only this event type, such as invoice.paid.",
)
@click.option("--account", help="Only this account and its payments.")
@click.option("--since", type=Since(), help="Only received since then: 36h, 30d, 2026-11-01.")
@click.option(
    "--limit",
    type=click.IntRange(min=1),
    default=50,
    help="List at most this many, the newest ones.",
)
@format_options
@runs("events:list_events")
def list_events() -> None:
    """List events, newest first.

    --account also lists the refunds and disputes of the account's payments, which do not contain
    the account themselves.
    """


@events.command("show", short_help="Print the stored record of one event as JSON.")
@click.argument("event_id", metavar="EVT")
@runs("events:show_event")
def show_event() -> None:
    """Print the stored record of one event as JSON.

    The record contains each plugin's status, its number of attempts and its last error.
    """


@events.command("replay", short_help="Process events again.")
@click.argument("event_ids", metavar="EVT...", nargs=-1, required=True)
@runs("events:replay_events")
def replay_events() -> None:
    """Process events again, as if Stripe had just delivered them.

    Events that are not in the database are fetched from Stripe, which keeps them for 30 days. It is
    safe to repeat this command: a plugin that has finished an event does not run again. Deferred
    jobs are run by `serve`, immediately.

    Exit code 1: an event failed.
    """


@events.command("accept")
@click.argument("event_id", metavar="EVT")
@click.option("--reason", required=True, help="The reason, which is stored in the ledger.")
@click.option("--account", help="The account to credit, if the payment's metadata has none.")
@click.option(
    "--credits",
    type=click.IntRange(min=1),
    help="The number of credits, if the payment's metadata has none.",
)
@runs("events:accept_event")
def accept_event() -> None:
    """Credit one rejected payment.

    EVT is an event of the type payment_intent.succeeded that `events list --rejected` lists. Its
    payment must be paid at Stripe and not fully refunded. The account and the credits are read from
    the payment's metadata; --account and --credits supply only what the metadata lacks. The credits
    are added once, however often you run this command, less what was refunded or disputed. Then the
    plugins that waited for the credits run.
    """
