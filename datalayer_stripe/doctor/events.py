"""Checks of what the service has done so far: events, deferred work, reconciliation and audit."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from ..documents import DOCUMENTS
from ..errors import CannotCheck
from ..settings import variable
from ..store.event_records import FAILED, REJECTED
from ..store.last_runs import AUDIT, RECONCILIATION
from .checks import Subject
from .context import CheckContext

SUBJECT = Subject("events")

MAX_JOB_DELAY = timedelta(hours=1)
"""Deferred work that is due for longer is reported."""

MAX_MISSED_RECONCILIATIONS = 3
"""So many intervals without a successful reconciliation are reported."""

MAX_AUDIT_AGE = timedelta(days=31)
"""An audit should run at least so often."""


@SUBJECT.error(
    "rejected",
    "No event is rejected.",
    advice="`datalayer-stripe events list --rejected` lists them, and "
    f"{DOCUMENTS}/operations.md#rejected-events says what each reason means: somebody may have "
    "paid without getting credits.",
)
async def rejected(context: CheckContext) -> Sequence[str]:
    return await _open_events(context, REJECTED)


@SUBJECT.warning(
    "failed",
    "No failed event waits for a retry.",
    advice="`datalayer-stripe events list --failed` lists them, and the log has the reasons. "
    "Stripe retries for up to three days.",
)
async def failed(context: CheckContext) -> Sequence[str]:
    return await _open_events(context, FAILED)


@SUBJECT.warning(
    "pending",
    "Deferred work is done when it is due.",
    advice="Check that `datalayer-stripe serve` runs with the plugin of this line: jobs of a "
    "plugin that no process has wait until one has it.",
)
async def pending(context: CheckContext) -> Sequence[str]:
    overdue = await context.store.jobs.overdue(context.clock() - MAX_JOB_DELAY)
    return [
        f"{number:,} {_plural(number, 'job')} of the plugin {name} {_verb(number)} due for more "
        "than an hour."
        for name, number in sorted(overdue.items())
    ]


@SUBJECT.warning(
    "reconciliation",
    "The last reconciliation is recent.",
    advice="Run `datalayer-stripe reconcile`. If `serve` runs, its log says `reconcile: postponed` "
    "and why.",
)
async def reconciliation(context: CheckContext) -> Sequence[str]:
    interval = timedelta(seconds=context.settings.stripe_reconcile_interval)
    if not interval:
        raise CannotCheck(f"{variable('stripe_reconcile_interval')} is 0")
    run = await context.store.last_runs.get(RECONCILIATION)
    age = context.clock() - (run.at if run else await _first_start(context))
    if age <= MAX_MISSED_RECONCILIATIONS * interval:
        return []
    if run is None:
        return [f"`serve` first ran {_ago(age)}, and no reconciliation has succeeded since."]
    return [f"The last successful reconciliation was {_ago(age)}."]


@SUBJECT.warning(
    "audit",
    "No audit is due; the last one found nothing.",
    advice="Run `datalayer-stripe audit`: it names each difference and what corrects it.",
)
async def audit(context: CheckContext) -> Sequence[str]:
    run = await context.store.last_runs.get(AUDIT)
    if run and run.problems:
        number = run.problems
        return [f"The last audit has left {number:,} {_plural(number, 'difference')}."]
    if run is None and await context.store.ledger.is_empty():
        raise CannotCheck("nothing was sold yet")
    age = context.clock() - (run.at if run else await _first_start(context))
    if age <= MAX_AUDIT_AGE:
        return []
    if run is None:
        return [f"`serve` first ran {_ago(age)}, and no audit has run since."]
    return [f"The last audit was {_ago(age)}."]


async def _open_events(context: CheckContext, status: str) -> Sequence[str]:
    registry, events = context.registry, context.store.events
    problems = []
    for plugin in (*registry.plugins, *registry.disabled):
        if number := await events.open_count(status, plugin.name):
            noun = _plural(number, "event")
            problems.append(f"The plugin {plugin.name} has {status} {number:,} {noun}.")
    return problems


async def _first_start(context: CheckContext) -> datetime:
    """Return when `serve` first ran with this database."""
    times = await context.store.first_seen.read()
    if not times:
        raise CannotCheck("`serve` has not run with this database yet")
    return min(times.values())


def _ago(age: timedelta) -> str:
    hours = age / timedelta(hours=1)
    return f"{hours:,.0f} hours ago" if hours < 48 else f"{hours / 24:,.0f} days ago"


def _plural(number: int, noun: str) -> str:
    return noun if number == 1 else f"{noun}s"


def _verb(number: int) -> str:
    return "is" if number == 1 else "are"
