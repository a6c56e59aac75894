"""The commands `events list`, `show`, `replay` and `accept`."""

import sys
from collections.abc import Sequence
from datetime import datetime

import click

from ..administration.events import EventStatus
from ..administration.views import EventView
from ..errors import AcceptanceRefused, NotFound, RequestError, StripeObjectMissing
from ..webhooks.outcome import Outcome
from .common import command_service, fail, run
from .output.exports import print_json
from .output.formats import Format
from .output.tables import Column, print_rows
from .output.terminal import print_error, print_paragraph

_OPERATOR = "command line"
_NOT_FOUND = "not found in the database or at Stripe"
_SUCCESSFUL = frozenset({Outcome.PROCESSED, Outcome.DEFERRED, Outcome.DUPLICATE, Outcome.IGNORED})


def _plugin_runs(record: EventView) -> str:
    return "; ".join(f"{name}: {run.summary}" for name, run in record.handlers.items())


EVENT_COLUMNS: Sequence[Column[EventView]] = (
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


def list_events(
    failed: bool,
    rejected: bool,
    deferred: bool,
    event_type: str | None,
    account: str | None,
    since: datetime | None,
    limit: int,
    output: Format,
) -> None:
    """List events, newest first."""
    options: dict[EventStatus, bool] = {
        "failed": failed,
        "rejected": rejected,
        "deferred": deferred,
    }
    chosen = [status for status, is_chosen in options.items() if is_chosen]
    if len(chosen) > 1:
        raise click.UsageError("Use one of --failed, --rejected and --deferred.")
    if deferred and (event_type or account or since):
        raise click.UsageError("--deferred cannot be combined with --type, --account or --since.")

    async def find() -> list[EventView]:
        async with command_service() as service:
            return await service.administration.events.find(
                status=chosen[0] if chosen else "all",
                event_type=event_type,
                account_uid=account,
                since=since,
                limit=limit,
            )

    found = run(find())
    print_rows(
        output,
        EVENT_COLUMNS,
        found,
        detail=event_detail,
        empty="No matching events.",
        json=[one.model_dump(mode="json") for one in found],
    )


def event_detail(record: EventView) -> str:
    """Return the line below an event in the list: its object, account and plugins."""
    account = f" of account {record.account_uid}" if record.account_uid else ""
    runs = _plugin_runs(record) or "no plugin has run"
    return f"{record.object_id or '-'}{account}: {runs}"


def show_event(event_id: str) -> None:
    """Print the stored record of one event as JSON."""

    async def get() -> EventView | None:
        async with command_service() as service:
            return await service.administration.events.get(event_id)

    record = run(get())
    if record is None:
        fail(
            f"Event {event_id} is not in the database. "
            f"`datalayer-stripe events replay {event_id}` fetches it from Stripe."
        )
    print_json(record.model_dump(mode="json"))


def replay_events(event_ids: tuple[str, ...]) -> None:
    """Process events again."""
    unsuccessful: list[str] = []
    stored: list[str] = []

    async def replay() -> None:
        async with command_service(running_plugins=True) as service:
            for event_id in event_ids:
                processed = event_id
                try:
                    replayed = await service.administration.events.replay(
                        event_id, operator=_OPERATOR
                    )
                    # Of a thin event, the snapshot event is stored.
                    processed, outcome = replayed.event_id, replayed.outcome
                except NotFound:
                    outcome = _NOT_FOUND
                except RequestError as error:
                    outcome = f"{Outcome.FAILED.value}: {error.message}"
                print_paragraph(f"{event_id} → {outcome}")
                if outcome not in _SUCCESSFUL:
                    unsuccessful.append(event_id)
                    if outcome != _NOT_FOUND:
                        stored.append(processed)

    run(replay())
    if stored:
        print_error(f"`datalayer-stripe events show {stored[0]}` shows what its plugins did.")
    if unsuccessful:
        sys.exit(1)


def accept_event(event_id: str, reason: str, account: str | None, credits: int | None) -> None:
    """Credit one rejected payment."""
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
            replayed = await service.processor.replay(event_id)
        top_up = verdict.top_up
        credited = "credited" if verdict.is_new else "already credited, nothing was changed"
        text = f"{top_up.credits} credits for {top_up.account_uid} ({top_up.payment_intent_id})"
        return f"{event_id} → {credited}: {text}", replayed.outcome in _SUCCESSFUL

    line, successful = run(accept())
    print_paragraph(line)
    if not successful:
        fail(
            "A plugin that waited for the credits has failed. "
            f"`datalayer-stripe events show {event_id}` shows its error."
        )
