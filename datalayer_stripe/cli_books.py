"""The commands by which an operator sees and mends: `events`, `reconcile`, `audit`."""

import json
import sys
from collections.abc import Sequence
from datetime import UTC, datetime

import click

from .audit import Difference
from .cli_support import DIFFERENCES, Progress, Since, command_service, counted, run, table
from .errors import RequestError, StripeObjectMissing
from .reconcile import EVENTS_KEPT, Finding
from .running import Outcome
from .store.events import FAILED, REJECTED, EventRecord

_GOOD = frozenset({Outcome.PROCESSED, Outcome.DEFERRED, Outcome.DUPLICATE, Outcome.IGNORED})


@click.group()
def events() -> None:
    """The events that were received, and what became of each."""


@events.command("list")
@click.option("--failed", is_flag=True, help="Only those of which a plugin is to run again.")
@click.option("--rejected", is_flag=True, help="Only those that a plugin has rejected.")
@click.option("--type", "event_type", help="Only of this type, such as invoice.paid.")
@click.option("--account", help="Only of this account.")
@click.option("--since", type=Since(), help="Only received since then: 36h, 30d, 2026-11-01.")
@click.option(
    "--limit", type=click.IntRange(min=1), default=50, help="At most so many, the newest."
)
def list_events(
    failed: bool,
    rejected: bool,
    event_type: str | None,
    account: str | None,
    since: datetime | None,
    limit: int,
) -> None:
    """List events, newest first."""
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
    if not found:
        click.echo("No such event.")
        return
    table(
        ("RECEIVED (UTC)", "EVENT", "TYPE", "OBJECT", "ACCOUNT", "PLUGINS"),
        [
            (
                f"{record.received_at:%Y-%m-%d %H:%M:%S}",
                record.id,
                record.type,
                record.object_id or "-",
                record.account_uid or "-",
                ", ".join(f"{name}: {one.status}" for name, one in record.handlers.items()),
            )
            for record in found
        ],
    )


@events.command("show")
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
    # The payload may hold somebody's name and address; Stripe's dashboard shows it.
    shown = record.model_dump(mode="json", exclude={"payload"})
    click.echo(json.dumps(shown, indent=2))


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
                    outcome = (await service.deliveries.replay(event_id)).value
                except StripeObjectMissing:
                    outcome = "unknown, to us and to Stripe"
                except RequestError as error:
                    outcome = f"{Outcome.FAILED.value}: {error.message}"
                click.echo(f"{event_id} → {outcome}")
                good &= outcome in _GOOD
        return good

    sys.exit(0 if run(work()) else 1)


@click.command()
@click.option("--since", type=Since(), help="How far back to look.", show_default="30d")
@click.option("--dry-run", is_flag=True, help="Only say what is missing; exit code 3 if anything.")
def reconcile(since: datetime | None, dry_run: bool) -> None:
    """Heal what was never delivered.

    Goes through Stripe's events, its succeeded payments and its subscriptions, and processes what
    is missing here by the same plugins as a delivery. Safe while the service runs, and when run
    twice. Stripe keeps events for 30 days; payments and subscriptions are looked at themselves.
    """
    since = since or datetime.now(UTC) - EVENTS_KEPT
    progress, findings = Progress(since), list[Finding]()

    async def work() -> str:
        async with command_service(running_plugins=not dry_run) as service:
            reconciliation = service.reconciliation(
                dry_run=dry_run, on_finding=findings.append, on_progress=progress
            )
            report = await reconciliation.run(since)
        checked = ", ".join(counted(number, kind) for kind, number in report.checked.items())
        waiting = f" {report.rejected} are rejected: see `events list --rejected`."
        return f"Checked {checked or 'nothing'}.{waiting if report.rejected else ''}"

    try:
        summary = run(work())
    finally:  # also what was healed before something came in the way
        progress.clear()
        _show(findings)
    click.echo(summary)
    if dry_run and findings:
        sys.exit(DIFFERENCES)
    if any(one.outcome == Outcome.FAILED for one in findings):
        sys.exit(1)


def _show(findings: Sequence[Finding]) -> None:
    if findings:
        rows = [(one.kind, one.id, one.detail, one.outcome or "missing") for one in findings]
        table(("WHAT", "ID", "DETAIL", "OUTCOME"), rows)
    else:
        click.echo("Nothing is missing.")


@click.command()
def audit() -> None:
    """Prove that the books balance, with themselves and with Stripe.

    Each balance is the sum of its ledger, each ledger row has its payment at Stripe, and each
    payment its ledger row. Changes nothing. Exit code 3 on a difference, each explained.
    """
    progress = Progress()

    def explain(difference: Difference) -> None:
        progress.clear()
        click.echo(f"{difference.kind} {difference.id}: {difference.explanation}")

    async def work() -> tuple[str, int]:
        async with command_service() as service:
            report = await service.audit(on_difference=explain, on_progress=progress).run()
        progress.clear()
        checked = ", ".join(counted(number, kind) for kind, number in report.checked.items())
        return checked or "nothing", report.differences

    checked, differences = run(work())
    click.echo(f"Checked {checked}.")
    click.echo(f"{counted(differences, 'difference')}." if differences else "The books balance.")
    if differences:
        sys.exit(DIFFERENCES)
