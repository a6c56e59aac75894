"""The commands that compare the database with Stripe: `reconcile` and `audit`."""

import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime, timedelta

import click

from ..reconciliation.audit import AuditReport
from ..reconciliation.differences import Difference, RepairTarget
from ..reconciliation.findings import EVENT_RETENTION, GRACE_PERIOD, NEEDS_REPAIR, Finding, Report
from ..reconciliation.repair import repair_all
from ..store.last_runs import AUDIT
from ..webhooks.outcome import Outcome
from .common import DIFFERENCES_EXIT_CODE, Since, command_service, run
from .output import Progress, pluralize, print_json, print_table


@click.command()
@click.option("--since", type=Since(), help="Start time: 36h, 30d, 2026-11-01.  [default: 30d]")
@click.option(
    "--dry-run", is_flag=True, help="Only report what is missing; exit code 3 if anything is."
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def reconcile(since: datetime | None, dry_run: bool, as_json: bool) -> None:
    """Process events that were never delivered.

    Compares Stripe's events, payments, refunds, disputes, subscriptions and customers with the
    database. The plugins process what is missing, as they process a delivery. You can run this
    command while the service runs, and repeat it. Stripe keeps events for 30 days; what is older
    is compared without them.

    Exit code 1: something could not be processed.
    """
    since = since or datetime.now(UTC) - EVENT_RETENTION
    progress, findings, report = Progress(since), list[Finding](), Report()

    async def sweep() -> None:
        async with command_service(running_plugins=not dry_run) as service:
            reconciliation = service.reconciliation(
                dry_run=dry_run,
                on_finding=findings.append,
                on_progress=progress,
                report=report,
            )
            await reconciliation.run(since)

    is_complete = False
    try:
        run(sweep())
        is_complete = True
    finally:
        progress.clear()
        # After an error, report what was processed before it, if anything was.
        if is_complete or findings or report.checked:
            _print_findings(findings, report, is_complete=is_complete, as_json=as_json)
    if dry_run and findings:
        sys.exit(DIFFERENCES_EXIT_CODE)
    if any(finding.outcome in (Outcome.FAILED, NEEDS_REPAIR) for finding in findings):
        sys.exit(1)


def _print_findings(
    findings: Sequence[Finding], report: Report, *, is_complete: bool, as_json: bool
) -> None:
    if as_json:
        print_json(
            {
                "findings": [asdict(finding) for finding in findings],
                "checked": dict(report.checked),
                "too_recent": dict(+report.too_recent),
                "rejected": report.rejected,
                "complete": is_complete,
            }
        )
        return
    exceptions = _too_recent(report.too_recent)
    if report.rejected:
        verb = "is" if report.rejected == 1 else "are"
        exceptions.append(f"{report.rejected:,} {verb} rejected: see `events list --rejected`")
    if findings:
        rows = [(one.kind, one.outcome or "missing", one.id, one.detail) for one in findings]
        print_table(("WHAT", "OUTCOME", "ID", "DETAIL"), rows)
    else:
        click.echo(_nothing_missing(is_complete=is_complete, has_exceptions=bool(exceptions)))
    click.echo(f"Checked {_checked(report.checked)}.")
    if exceptions:
        click.echo(f"But {'; '.join(exceptions)}.")


def _nothing_missing(*, is_complete: bool, has_exceptions: bool) -> str:
    if not is_complete:
        return "Nothing was missing before the error."
    return "Nothing else is missing." if has_exceptions else "Nothing is missing."


def _too_recent(counts: Counter[str]) -> list[str]:
    """Return a clause about the objects that are too recent to be checked, if there are any."""
    kinds = " and ".join(pluralize(number, kind) for kind, number in (+counts).items())
    if not kinds:
        return []
    verb = "was" if sum(counts.values()) == 1 else "were"
    minutes = GRACE_PERIOD // timedelta(minutes=1)
    return [f"{kinds} younger than {minutes} minutes {verb} not checked"]


def _checked(checked: Counter[str]) -> str:
    return ", ".join(pluralize(number, kind) for kind, number in checked.items()) or "nothing"


@click.command(short_help="Compare the balances, the ledger and Stripe.")
@click.option("--account", help="Only this account.")
@click.option(
    "--since",
    type=Since(),
    help="Compare with Stripe only what was created since then: 36h, 30d, 2026-11-01.",
)
@click.option("--repair", is_flag=True, help="Show what --yes would repair.")
@click.option("--yes", is_flag=True, help="With --repair: repair it.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def audit(
    account: str | None, since: datetime | None, repair: bool, yes: bool, as_json: bool
) -> None:
    """Compare the balances with the ledger, and the ledger with Stripe.

    Each balance must be the sum of its ledger rows. Each payment at Stripe must have a ledger row,
    and each row a payment. Each difference is explained, with the command that corrects it.

    Without --repair --yes the command stores only when it ran and how many differences it found,
    for `datalayer-stripe doctor`. With these options it sets balances to the
    sums of their ledger rows, and adds ledger rows until they agree with Stripe: the missing rows,
    or rows of the kind `correction`. It never changes or deletes a row. You can run it while the
    service runs, and repeat it.

    Exit code 3: a difference was found and not repaired.
    """
    if yes and not repair:
        raise click.UsageError("Use --yes together with --repair.")
    progress, found = Progress(), list[Difference]()

    async def compare() -> tuple[AuditReport, dict[RepairTarget, str | None]]:
        async with command_service() as service:
            started_at = service.clock()
            report = await service.audit(
                account_uid=account,
                since=since,
                on_difference=found.append,
                on_progress=progress,
            ).run()
            if account is not None and not await service.store.accounts.exists(account):
                click.echo(f"No balance is stored for {account}: check the uid.", err=True)
            targets = [one.target for one in found if one.target is not None]
            failures = await repair_all(service.repairs(), targets) if yes else {}
            if account is None and since is None:
                problems = sum(not _is_repaired(one, failures) for one in found)
                await service.store.last_runs.record(AUDIT, started_at, problems=problems)
            return report, failures

    report, failures = run(compare())
    progress.clear()
    remaining = [one for one in found if not _is_repaired(one, failures)]
    if as_json:
        differences = [
            {
                "kind": one.kind,
                "id": one.id,
                "explanation": one.explanation,
                "command": one.command,
                "repaired": one not in remaining,
            }
            for one in found
        ]
        print_json(
            {
                "differences": differences,
                "checked": dict(report.checked),
                "too_recent": dict(+report.too_recent),
            }
        )
    else:
        for one in found:
            _print_difference(one, failures, dry_run=repair and not yes)
        _print_summary(report, found, remaining, dry_run=repair and not yes)
    if remaining:
        sys.exit(DIFFERENCES_EXIT_CODE)


def _is_repaired(difference: Difference, failures: Mapping[RepairTarget, str | None]) -> bool:
    """Return whether the repair of a difference was tried and has no reason for a failure."""
    target = difference.target
    return target is not None and target in failures and not failures[target]


def _print_difference(
    difference: Difference, failures: Mapping[RepairTarget, str | None], *, dry_run: bool
) -> None:
    click.echo(f"{difference.kind} {difference.id}: {difference.explanation}")
    target = difference.target
    if target is not None and target in failures:
        reason = failures[target]
        click.echo(f"  not repaired: {reason}" if reason else "  repaired")
    elif dry_run and target is not None:
        click.echo("  would be repaired")
    elif difference.command is not None:
        click.echo(f"  to correct it: {difference.command}")


def _print_summary(
    report: AuditReport,
    found: Sequence[Difference],
    remaining: Sequence[Difference],
    *,
    dry_run: bool,
) -> None:
    click.echo(f"Checked {_checked(report.checked)}.")
    exceptions = _too_recent(report.too_recent)
    if exceptions:
        click.echo(f"But {'; '.join(exceptions)}.")
    if not found:
        click.echo("No differences in what was checked." if exceptions else "No differences.")
        return
    repaired = len(found) - len(remaining)
    suffix = f", {repaired:,} repaired" if repaired else ""
    click.echo(f"{pluralize(len(found), 'difference')}{suffix}.")
    if dry_run:
        is_repairable = any(one.target for one in found)
        click.echo("Nothing was changed." + (" Add --yes to repair." if is_repairable else ""))
