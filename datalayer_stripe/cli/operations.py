"""The commands that compare with Stripe, and repair: `reconcile` and `audit`."""

import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime

import click

from ..reconciliation.audit import AuditReport
from ..reconciliation.differences import Difference, RepairTarget
from ..reconciliation.repair import repair_all
from ..reconciliation.sweeps import EVENTS_KEPT, NEEDS_REPAIR, Finding, Report
from ..webhooks.outcome import Outcome
from .common import (
    DIFFERENCES,
    Progress,
    Since,
    command_service,
    counted,
    print_json,
    run,
    table,
)


@click.command()
@click.option(
    "--since", type=Since(), help="How far back to look: 36h, 30d, 2026-11-01.  [default: 30d]"
)
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
