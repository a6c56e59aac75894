"""The commands by which an operator sees and mends: `events`, `reconcile`, `audit`."""

import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

import click

from .acceptance import NotAcceptable
from .audit import AuditReport
from .cli_support import (
    DIFFERENCES,
    Progress,
    Since,
    command_service,
    counted,
    detail,
    fail,
    print_json,
    run,
    table,
)
from .differences import Difference, RepairTarget
from .errors import RequestError, StripeObjectMissing
from .reconcile import EVENTS_KEPT, NEEDS_REPAIR, Finding, Report
from .repair import repair_all
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
                    outcome = (await service.deliveries.replay(event_id)).value
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
            outcome = await service.deliveries.replay(event_id)
        top_up = verdict.top_up
        credited = "credited" if verdict.is_new else "credited before, nothing was changed"
        text = f"{top_up.credits} credits for {top_up.account_uid} ({top_up.payment_intent_id})"
        return f"{event_id} → {credited}: {text}", outcome in _GOOD

    line, good = run(work())
    click.echo(line)
    if not good:
        fail(f"A plugin that waited for the credits has failed: `events show {event_id}`.")


@click.command()
@click.option("--since", type=Since(), help="How far back to look.", show_default="30d")
@click.option("--dry-run", is_flag=True, help="Only say what is missing; exit code 3 if anything.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def reconcile(since: datetime | None, dry_run: bool, as_json: bool) -> None:
    """Heal what was never delivered.

    Goes through Stripe's events, its succeeded payments and its subscriptions, and processes what
    is missing here by the same plugins as a delivery. Safe while the service runs, and when run
    twice. Stripe keeps events for 30 days; payments and subscriptions are looked at themselves.

    Exit code 1 when something could not be healed.
    """
    since = since or datetime.now(UTC) - EVENTS_KEPT
    progress, findings, report = Progress(since), list[Finding](), Report()

    async def work() -> None:
        async with command_service(running_plugins=not dry_run) as service:
            reconciliation = service.reconciliation(
                dry_run=dry_run,
                on_finding=findings.append,
                on_progress=progress,
                report=report,
            )
            await reconciliation.run(since)

    try:
        run(work())
    finally:  # also what was healed before something came in the way
        progress.clear()
        _show(findings, report, as_json=as_json)
    if dry_run and findings:
        sys.exit(DIFFERENCES)
    if any(one.outcome in (Outcome.FAILED, NEEDS_REPAIR) for one in findings):
        sys.exit(1)


def _show(findings: Sequence[Finding], report: Report, *, as_json: bool) -> None:
    if as_json:
        shown = {
            "findings": [asdict(one) for one in findings],
            "checked": dict(report.checked),
            "not_judged": dict(+report.young),
            "rejected": report.rejected,
        }
        print_json(shown)
        return
    caveats = _not_judged(report.young)
    if report.rejected:
        verb = "is" if report.rejected == 1 else "are"
        caveats.append(f"{report.rejected:,} {verb} rejected: see `events list --rejected`")
    if findings:
        rows = [(one.kind, one.outcome or "missing", one.id, one.detail) for one in findings]
        table(("WHAT", "OUTCOME", "ID", "DETAIL"), rows)
    else:
        click.echo("Nothing else is missing." if caveats else "Nothing is missing.")
    click.echo(f"Checked {_checked(report.checked)}.")
    if caveats:
        click.echo(f"But {'; '.join(caveats)}.")


def _not_judged(young: Counter[str]) -> list[str]:
    """Return a clause about what was too young to judge, if there was any."""
    kinds = " and ".join(counted(number, kind) for kind, number in (+young).items())
    if not kinds:
        return []
    verb = "was" if sum(young.values()) == 1 else "were"
    return [f"{kinds} younger than 5 minutes {verb} not judged"]


def _checked(checked: Counter[str]) -> str:
    return ", ".join(counted(number, kind) for kind, number in checked.items()) or "nothing"


@click.command()
@click.option("--account", help="Only this account.")
@click.option(
    "--since",
    type=Since(),
    help="Compare with Stripe only what was created since then: 36h, 30d, 2026-11-01.",
)
@click.option("--repair", is_flag=True, help="Say what a repair would put right.")
@click.option("--yes", is_flag=True, help="With --repair: put it right.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def audit(
    account: str | None, since: datetime | None, repair: bool, yes: bool, as_json: bool
) -> None:
    """Prove that the books balance, with themselves and with Stripe.

    Each balance is the sum of its ledger, each ledger row has its payment at Stripe, and each
    payment its ledger row. Each difference is explained, with the command that heals it.

    Changes nothing without --repair --yes. With it, balances are set to what their ledgers sum to,
    and ledgers to what Stripe says: by further rows, of the kind `correction` or with the row that
    was missing. No row is changed or deleted. Safe while the service runs, and when run twice.

    Exit code 3 on a difference that was not repaired.
    """
    if yes and not repair:
        raise click.UsageError("--yes is for --repair.")
    progress, found = Progress(), list[Difference]()

    async def work() -> tuple[AuditReport, dict[RepairTarget, str | None]]:
        async with command_service() as service:
            report = await service.audit(
                account_uid=account,
                since=since,
                on_difference=found.append,
                on_progress=progress,
            ).run()
            targets = [one.target for one in found if one.target is not None]
            return report, await repair_all(service.repairs(), targets) if yes else {}

    report, repaired = run(work())
    progress.clear()
    left = [one for one in found if one.target is None or repaired.get(one.target, "no")]
    if as_json:
        differences = [
            {
                "kind": one.kind,
                "id": one.id,
                "explanation": one.explanation,
                "command": one.command,
                "repaired": one not in left,
            }
            for one in found
        ]
        shown = {"differences": differences, "checked": dict(report.checked)}
        print_json({**shown, "not_judged": dict(+report.young)})
    else:
        for one in found:
            _explain(one, repaired, dry_run=repair and not yes)
        _conclude(report, found, left, dry_run=repair and not yes)
    if left:
        sys.exit(DIFFERENCES)


def _explain(
    difference: Difference, repaired: Mapping[RepairTarget, str | None], *, dry_run: bool
) -> None:
    click.echo(f"{difference.kind} {difference.id}: {difference.explanation}")
    target = difference.target
    if target is not None and target in repaired:
        reason = repaired[target]
        click.echo(f"  not repaired: {reason}" if reason else "  repaired")
    elif dry_run and target is not None:
        click.echo("  would be repaired")
    elif difference.command is not None:
        click.echo(f"  heal it: {difference.command}")


def _conclude(
    report: AuditReport,
    found: Sequence[Difference],
    left: Sequence[Difference],
    *,
    dry_run: bool,
) -> None:
    click.echo(f"Checked {_checked(report.checked)}.")
    caveats = _not_judged(report.young)
    if caveats:
        click.echo(f"But {'; '.join(caveats)}.")
    if not found:
        click.echo("All that was judged balances." if caveats else "The books balance.")
        return
    repaired = f", {len(found) - len(left):,} repaired" if len(found) > len(left) else ""
    click.echo(f"{counted(len(found), 'difference')}{repaired}.")
    if dry_run:
        click.echo("Nothing was changed: this was a dry run. Add --yes to repair.")
