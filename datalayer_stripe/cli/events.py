"""The command `events`: what was received, and what became of it."""

import sys
from datetime import datetime
from typing import Any

import click

from ..errors import RequestError, StripeObjectMissing
from ..reconciliation.acceptance import NotAcceptable
from ..store.events import FAILED, REJECTED, EventRecord
from ..webhooks.outcome import Outcome
from .common import (
    Since,
    command_service,
    detail,
    fail,
    print_json,
    run,
    table,
)

_GOOD = frozenset({Outcome.PROCESSED, Outcome.DEFERRED, Outcome.DUPLICATE, Outcome.IGNORED})


@click.group()
def events() -> None:
    """The events that were received, and what became of each."""


@events.command("list")
@click.option("--failed", is_flag=True, help="Only those of which a plugin is to run again.")
@click.option("--rejected", is_flag=True, help="Only those that a plugin has rejected.")
@click.option("--type", "event_type", help="Only of this type, such as invoice.paid.")
@click.option("--account", help="Only of this account and its payments.")
@click.option("--since", type=Since(), help="Only received since then: 36h, 30d, 2026-11-01.")
@click.option(
    "--limit", type=click.IntRange(min=1), default=50, help="At most so many, the newest."
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def list_events(
    failed: bool,
    rejected: bool,
    event_type: str | None,
    account: str | None,
    since: datetime | None,
    limit: int,
    as_json: bool,
) -> None:
    """List events, newest first.

    With --account also the refunds and disputes of its payments, which name no account themselves.
    """
    if failed and rejected:
        raise click.UsageError("--failed and --rejected are one or the other.")
    status = FAILED if failed else REJECTED if rejected else None

    async def work() -> list[EventRecord]:
        found = []
        async with command_service() as service:
            async for record in service.store.events.find(
                status=status, event_type=event_type, account_uid=account, since=since
            ):
                found.append(record)
                if len(found) == limit:
                    break
        return found

    found = run(work())
    if as_json:
        print_json([_shown(record) for record in found])
        return
    if not found:
        click.echo("No such event.")
        return
    details = iter(map(_details, found))
    table(
        ("RECEIVED (UTC)", "EVENT", "TYPE"),
        [(f"{record.received_at:%Y-%m-%d %H:%M:%S}", record.id, record.type) for record in found],
        after_row=lambda: detail(next(details)),
    )


def _details(record: EventRecord) -> str:
    """Return what the list says below an event: its object, its account and its plugins."""
    account = f" of account {record.account_uid}" if record.account_uid else ""
    runs = ", ".join(f"{name}: {run.summary}" for name, run in record.handlers.items())
    return f"{record.object_id or '-'}{account}: {runs or 'no plugin has run'}"


def _shown(record: EventRecord) -> dict[str, Any]:
    # The payload may hold somebody's name and address; Stripe's dashboard shows it.
    return record.model_dump(mode="json", exclude={"payload"})


@events.command("show", short_help="Show what is kept of one event, as JSON.")
@click.argument("event_id", metavar="EVT")
def show_event(event_id: str) -> None:
    """Show what we keep of one event: each plugin's status, attempts and last error."""

    async def work() -> EventRecord | None:
        async with command_service() as service:
            return await service.store.events.get(event_id)

    record = run(work())
    if record is None:
        click.echo(f"No event {event_id} was received. `events replay` fetches it from Stripe.")
        sys.exit(1)
    print_json(_shown(record))


@events.command("replay")
@click.argument("event_ids", metavar="EVT...", nargs=-1, required=True)
def replay_events(event_ids: tuple[str, ...]) -> None:
    """Process events once more, as if Stripe had just delivered them.

    An event that we no longer have is fetched from Stripe, which keeps it for 30 days. Safe to
    repeat: what a plugin has finished does not happen again. What is deferred is done by `serve`,
    at once. The exit code is 1 when one failed.
    """

    async def work() -> bool:
        good = True
        async with command_service(running_plugins=True) as service:
            for event_id in event_ids:
                try:
                    outcome = (await service.processor.replay(event_id)).value
                except StripeObjectMissing:
                    outcome = "unknown, to us and to Stripe"
                except RequestError as error:
                    outcome = f"{Outcome.FAILED.value}: {error.message}"
                click.echo(f"{event_id} → {outcome}")
                good &= outcome in _GOOD
        return good

    sys.exit(0 if run(work()) else 1)


@events.command("accept")
@click.argument("event_id", metavar="EVT")
@click.option("--reason", required=True, help="Why; it is kept in the ledger.")
@click.option("--account", help="Whose the credits are, where the payment does not say it.")
@click.option(
    "--credits", type=click.IntRange(min=1), help="How many, where the payment does not say it."
)
def accept_event(event_id: str, reason: str, account: str | None, credits: int | None) -> None:
    """Credit one rejected payment by hand.

    EVT is a payment_intent.succeeded, of `events list --rejected`. Its payment has to be paid at
    Stripe and not refunded in full. Account and credits are those of its metadata; what that lacks
    is given by --account and --credits. The credits are added once, however often this is run, and
    less what was refunded or disputed. The plugins that waited for them run then.
    """
    if not reason.strip():
        raise click.UsageError("--reason must say why.")

    async def work() -> tuple[str, bool]:
        async with command_service(running_plugins=True) as service:
            try:
                verdict = await service.acceptance().accept(
                    event_id, reason, account_uid=account, credits=credits
                )
            except StripeObjectMissing:
                raise NotAcceptable(f"{event_id} is unknown, to us and to Stripe.") from None
            outcome = await service.processor.replay(event_id)
        top_up = verdict.top_up
        credited = "credited" if verdict.is_new else "credited before, nothing was changed"
        text = f"{top_up.credits} credits for {top_up.account_uid} ({top_up.payment_intent_id})"
        return f"{event_id} → {credited}: {text}", outcome in _GOOD

    line, good = run(work())
    click.echo(line)
    if not good:
        fail(f"A plugin that waited for the credits has failed: `events show {event_id}`.")
