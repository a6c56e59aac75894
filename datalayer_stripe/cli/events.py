"""The commands `events list`, `show`, `replay` and `accept`."""

import sys
from collections.abc import Sequence
from datetime import datetime
from typing import Any

import click

from ..errors import AcceptanceRefused, RequestError, StripeObjectMissing
from ..store.event_records import FAILED, REJECTED, EventRecord
from ..webhooks.outcome import Outcome
from .common import Since, command_service, fail, run
from .output.exports import print_json
from .output.formats import Format, format_options
from .output.tables import Column, print_rows
from .output.terminal import print_line

_SUCCESSFUL = frozenset({Outcome.PROCESSED, Outcome.DEFERRED, Outcome.DUPLICATE, Outcome.IGNORED})


def _plugin_runs(record: EventRecord) -> str:
    return "; ".join(f"{name}: {run.summary}" for name, run in record.handlers.items())


_COLUMNS: Sequence[Column[EventRecord]] = (
    Column(
        "received_at",
        lambda one: one.received_at,
        head="RECEIVED (UTC)",
        text=lambda one: f"{one.received_at:%Y-%m-%d %H:%M:%S}",
    ),
    Column("id", lambda one: one.id, head="EVENT"),
    Column("type", lambda one: one.type, head="TYPE"),
    Column("object_id", lambda one: one.object_id),
    Column("account_uid", lambda one: one.account_uid),
    Column("plugins", _plugin_runs),
)


@click.group()
def events() -> None:
    """List, show, replay and accept received events."""


@events.command("list")
@click.option("--failed", is_flag=True, help="Only events that a plugin has failed; it will retry.")
@click.option("--rejected", is_flag=True, help="Only events that a plugin has rejected.")
@click.option("--type", "event_type", help="Only this event type, such as invoice.paid.")
@click.option("--account", help="Only this account and its payments.")
@click.option("--since", type=Since(), help="Only received since then: 36h, 30d, 2026-11-01.")
@click.option(
    "--limit",
    type=click.IntRange(min=1),
    default=50,
    help="List at most this many, the newest ones.",
)
@format_options
def list_events(
    failed: bool,
    rejected: bool,
    event_type: str | None,
    account: str | None,
    since: datetime | None,
    limit: int,
    output: Format,
) -> None:
    """List events, newest first.

    --account also lists the refunds and disputes of the account's payments, which do not contain
    the account themselves.
    """
    if failed and rejected:
        raise click.UsageError("Use --failed or --rejected, not both.")
    status = FAILED if failed else REJECTED if rejected else None

    async def find() -> list[EventRecord]:
        found = []
        async with command_service() as service:
            async for record in service.store.event_lists.find(
                status=status, event_type=event_type, account_uid=account, since=since
            ):
                found.append(record)
                if len(found) == limit:
                    break
        return found

    found = run(find())
    print_rows(
        output,
        _COLUMNS,
        found,
        detail=_detail_of,
        empty="No matching events.",
        json=[_public_fields(record) for record in found],
    )


def _detail_of(record: EventRecord) -> str:
    """Return the line below an event in the list: its object, account and plugins."""
    account = f" of account {record.account_uid}" if record.account_uid else ""
    runs = _plugin_runs(record) or "no plugin has run"
    return f"{record.object_id or '-'}{account}: {runs}"


def _public_fields(record: EventRecord) -> dict[str, Any]:
    # The payload may contain a name and a postal address. Stripe's dashboard shows it.
    return record.model_dump(mode="json", exclude={"payload"})


@events.command("show", short_help="Print the stored record of one event as JSON.")
@click.argument("event_id", metavar="EVT")
def show_event(event_id: str) -> None:
    """Print the stored record of one event as JSON.

    The record contains each plugin's status, its number of attempts and its last error.
    """

    async def get() -> EventRecord | None:
        async with command_service() as service:
            return await service.store.events.get(event_id)

    record = run(get())
    if record is None:
        print_line(
            f"Event {event_id} is not in the database. "
            f"`datalayer-stripe events replay {event_id}` fetches it from Stripe."
        )
        sys.exit(1)
    print_json(_public_fields(record))


@events.command("replay", short_help="Process events again.")
@click.argument("event_ids", metavar="EVT...", nargs=-1, required=True)
def replay_events(event_ids: tuple[str, ...]) -> None:
    """Process events again, as if Stripe had just delivered them.

    Events that are not in the database are fetched from Stripe, which keeps them for 30 days. It is
    safe to repeat this command: a plugin that has finished an event does not run again. Deferred
    jobs are run by `serve`, immediately.

    Exit code 1: an event failed.
    """

    async def replay() -> bool:
        successful = True
        async with command_service(running_plugins=True) as service:
            for event_id in event_ids:
                try:
                    outcome = (await service.processor.replay(event_id)).value
                except StripeObjectMissing:
                    outcome = "not found in the database or at Stripe"
                except RequestError as error:
                    outcome = f"{Outcome.FAILED.value}: {error.message}"
                print_line(f"{event_id} → {outcome}")
                successful &= outcome in _SUCCESSFUL
        return successful

    sys.exit(0 if run(replay()) else 1)


@events.command("accept")
@click.argument("event_id", metavar="EVT")
@click.option("--reason", required=True, help="The reason, which is stored in the ledger.")
@click.option("--account", help="The account to credit, if the payment's metadata has none.")
@click.option(
    "--credits",
    type=click.IntRange(min=1),
    help="The number of credits, if the payment's metadata has none.",
)
def accept_event(event_id: str, reason: str, account: str | None, credits: int | None) -> None:
    """Credit one rejected payment.

    EVT is an event of the type payment_intent.succeeded that `events list --rejected` lists. Its
    payment must be paid at Stripe and not fully refunded. The account and the credits are read from
    the payment's metadata; --account and --credits supply only what the metadata lacks. The credits
    are added once, however often you run this command, less what was refunded or disputed. Then the
    plugins that waited for the credits run.
    """
    if not reason.strip():
        raise click.UsageError("--reason must not be blank.")

    async def accept() -> tuple[str, bool]:
        async with command_service(running_plugins=True) as service:
            try:
                verdict = await service.acceptance().accept(
                    event_id, reason, account_uid=account, credits=credits
                )
            except StripeObjectMissing:
                raise AcceptanceRefused(
                    f"Event {event_id} was not found in the database or at Stripe."
                ) from None
            outcome = await service.processor.replay(event_id)
        top_up = verdict.top_up
        credited = "credited" if verdict.is_new else "already credited, nothing was changed"
        text = f"{top_up.credits} credits for {top_up.account_uid} ({top_up.payment_intent_id})"
        return f"{event_id} → {credited}: {text}", outcome in _SUCCESSFUL

    line, successful = run(accept())
    print_line(line)
    if not successful:
        fail(
            "A plugin that waited for the credits has failed. "
            f"`datalayer-stripe events show {event_id}` shows its error."
        )
