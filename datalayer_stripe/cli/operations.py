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
from .common import DIFFERENCES_EXIT_CODE, command_service, run
from .output.exports import print_json
from .output.formats import Format
from .output.progress import ProgressBar, SweepProgress
from .output.tables import Column, as_records, print_rows_as_csv, print_table
from .output.terminal import pluralize, print_command, print_error, print_line, print_paragraph

_FINDING_COLUMNS: Sequence[Column[Finding]] = (
    Column("kind", lambda one: one.kind, head="WHAT"),
    Column(
        "outcome",
        lambda one: one.outcome,
        head="OUTCOME",
        text=lambda one: one.outcome or "missing",
    ),
    Column("id", lambda one: one.id, head="ID"),
    Column("detail", lambda one: one.detail, head="DETAIL"),
)

Failures = Mapping[RepairTarget, str | None]
"""Why the repair of a target has failed; None if it has not."""


def reconcile(since: datetime | None, dry_run: bool, output: Format) -> None:
    """Process events that were never delivered."""
    since = since or datetime.now(UTC) - EVENT_RETENTION
    findings, report = list[Finding](), Report()

    async def sweep(progress: SweepProgress) -> None:
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
        with SweepProgress(since) as progress:
            run(sweep(progress))
        is_complete = True
    finally:
        # After an error, report what was processed before it, if anything was.
        if is_complete or findings or report.checked:
            _print_findings(findings, report, is_complete=is_complete, output=output)
    if dry_run and findings:
        sys.exit(DIFFERENCES_EXIT_CODE)
    if any(finding.outcome in (Outcome.FAILED, NEEDS_REPAIR) for finding in findings):
        sys.exit(1)


def _print_findings(
    findings: Sequence[Finding], report: Report, *, is_complete: bool, output: Format
) -> None:
    if output is Format.CSV:
        print_rows_as_csv(_FINDING_COLUMNS, findings)
        return
    if output is Format.JSON:
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
        print_table(_FINDING_COLUMNS, findings)
    else:
        print_line(_nothing_missing(is_complete=is_complete, has_exceptions=bool(exceptions)))
    print_paragraph(f"Checked {_checked(report.checked)}.")
    if exceptions:
        print_paragraph(f"But {'; '.join(exceptions)}.")
    for step in _next_steps(findings):
        print_paragraph(step)


def _next_steps(findings: Sequence[Finding]) -> list[str]:
    """Return what to do about the findings that are not processed."""
    outcomes = {finding.outcome for finding in findings}
    steps = []
    if None in outcomes:
        steps.append("`datalayer-stripe reconcile` processes what is missing.")
    if Outcome.FAILED in outcomes:
        steps.append(
            "`datalayer-stripe events list --failed` lists the failed events. Correct the cause, "
            "and run the command again."
        )
    if NEEDS_REPAIR in outcomes:
        steps.append("`datalayer-stripe audit --repair` shows how it would repair the ledger.")
    return steps


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


def audit(
    account: str | None, since: datetime | None, repair: bool, yes: bool, output: Format
) -> None:
    """Compare the balances with the ledger, and the ledger with Stripe."""
    if yes and not repair:
        raise click.UsageError("Use --yes together with --repair.")
    found: list[Difference] = []
    is_unknown = False

    async def compare(progress: ProgressBar) -> tuple[AuditReport, Failures]:
        nonlocal is_unknown
        async with command_service() as service:
            started_at = service.clock()
            report = await service.audit(
                account_uid=account,
                since=since,
                on_difference=found.append,
                on_progress=progress.show_checked,
            ).run()
            is_unknown = account is not None and not await service.store.accounts.exists(account)
            targets = [one.target for one in found if one.target is not None]
            failures = await repair_all(service.repairs(), targets) if yes else {}
            if account is None and since is None:
                problems = sum(not _is_repaired(one, failures) for one in found)
                await service.store.last_runs.record(AUDIT, started_at, problems=problems)
            return report, failures

    with ProgressBar() as progress:
        report, failures = run(compare(progress))
    if is_unknown:
        print_error(f"No balance is stored for {account}: check the uid.")
    remaining = [one for one in found if not _is_repaired(one, failures)]
    if output is Format.CSV:
        print_rows_as_csv(_difference_columns(remaining), found)
    elif output is Format.JSON:
        print_json(
            {
                "differences": as_records(_difference_columns(remaining), found),
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


def _difference_columns(remaining: Sequence[Difference]) -> Sequence[Column[Difference]]:
    return (
        Column("kind", lambda one: one.kind),
        Column("id", lambda one: one.id),
        Column("explanation", lambda one: one.explanation),
        Column("command", lambda one: one.command),
        Column("repaired", lambda one: one not in remaining),
    )


def _is_repaired(difference: Difference, failures: Failures) -> bool:
    """Return whether the repair of a difference was tried and has no reason for a failure."""
    target = difference.target
    return target is not None and target in failures and not failures[target]


def _print_difference(difference: Difference, failures: Failures, *, dry_run: bool) -> None:
    print_paragraph(f"{difference.kind} {difference.id}: {difference.explanation}")
    target = difference.target
    if target is not None and target in failures:
        reason = failures[target]
        print_paragraph(f"not repaired: {reason}" if reason else "repaired", prefix="  ")
    elif dry_run and target is not None:
        print_line("  would be repaired")
    elif difference.command is not None:
        print_command(difference.command, prefix="  to correct it: ")


def _print_summary(
    report: AuditReport,
    found: Sequence[Difference],
    remaining: Sequence[Difference],
    *,
    dry_run: bool,
) -> None:
    print_paragraph(f"Checked {_checked(report.checked)}.")
    exceptions = _too_recent(report.too_recent)
    if exceptions:
        print_paragraph(f"But {'; '.join(exceptions)}.")
    if not found:
        print_line("No differences in what was checked." if exceptions else "No differences.")
        return
    repaired = len(found) - len(remaining)
    suffix = f", {repaired:,} repaired" if repaired else ""
    print_line(f"{pluralize(len(found), 'difference')}{suffix}.")
    if dry_run:
        is_repairable = any(one.target for one in found)
        print_line("Nothing was changed." + (" Add --yes to repair." if is_repairable else ""))
