"""Run the checks, and report what they find."""

import asyncio
import logging
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

from ..errors import (
    CannotCheck,
    RateLimited,
    RequestError,
    StoreUnavailable,
    StripeKeyRefused,
    StripePermissionMissing,
    StripeUnavailable,
)
from ..stripe_api.permissions import permission_label
from ..stripe_api.rate_limit import own_calls
from . import catalog, clock, database, endpoint, events, key, plugins, portal, settings
from .checks import Check, Finding, Status
from .context import CheckContext

logger = logging.getLogger(__name__)

CHECKS: Sequence[Check] = tuple(
    check
    for module in (settings, plugins, database, key, clock, catalog, portal, endpoint, events)
    for check in module.SUBJECT.checks
)
"""All checks, in the order of the report."""

STARTUP_CHECKS: Sequence[Check] = tuple(check for check in CHECKS if check is not endpoint.answers)
"""The checks when a service starts.

It sends no signed event to itself: a verified one would hide that it refuses all of Stripe's, see
:mod:`.webhooks.signature_monitor`.
"""

CHECK_SECONDS = 30.0
"""Timeout of one check, in seconds."""

# The checks share the permits of the service's own calls, which may be busy with events.
_PERMIT_SECONDS = 20.0

_REPORT_IT = "Look at the log, and report it: https://github.com/datalayer/datalayer-stripe/issues"


async def run_checks(context: CheckContext, checks: Iterable[Check] = CHECKS) -> list[Finding]:
    """Run checks concurrently. No error of a check is raised.

    Args:
        context: What the checks look at.
        checks: The checks.

    Returns:
        At least one finding for each check, in the order of the checks.
    """
    with own_calls(_PERMIT_SECONDS):
        found = await asyncio.gather(*(_run(check, context) for check in checks))
    return [finding for findings in found for finding in findings]


async def _run(check: Check, context: CheckContext) -> list[Finding]:
    try:
        async with asyncio.timeout(CHECK_SECONDS):
            problems = await check.find_problems(context)
    except (CannotCheck, RequestError, TimeoutError) as error:
        return [Finding(check.name, Status.NOT_RUN, _reason(error))]
    except Exception as error:
        logger.exception("check failed", extra={"check": check.name})
        text = f"The check itself has failed ({type(error).__name__})."
        return [Finding(check.name, Status.WARNING, text, _REPORT_IT)]
    if not problems:
        return [Finding(check.name, Status.OK, check.title)]
    status = Status(check.severity.value)
    return [Finding(check.name, status, problem, check.advice) for problem in problems]


# The first class that matches counts.
_REASONS: Sequence[tuple[type[Exception], str]] = (
    (StripeKeyRefused, "Stripe refuses the key"),
    (StoreUnavailable, "the database does not answer"),
    (RateLimited, "there are too many calls to Stripe at the moment"),
    (StripeUnavailable, "Stripe does not answer"),
)


def _reason(error: Exception) -> str:
    """Return why a check could not run."""
    if isinstance(error, CannotCheck):
        return str(error)
    if isinstance(error, StripePermissionMissing) and error.permission:
        label = permission_label(error.permission)
        return f"the key lacks the permission {error.permission} ({label})"
    for kind, reason in _REASONS:
        if isinstance(error, kind):
            return reason
    return f"there was no answer ({type(error).__name__})"


def exit_code(findings: Iterable[Finding]) -> int:
    """Return 2 if there is an error, 1 if there is a warning, else 0.

    Checks that did not run do not count: the check of what they lack has a finding of its own.
    """
    statuses = {finding.status for finding in findings}
    return 2 if Status.ERROR in statuses else 1 if Status.WARNING in statuses else 0


def as_json(findings: Sequence[Finding]) -> dict[str, Any]:
    """Return the report for programs: the counts of each status, and the findings."""
    counts = Counter(finding.status for finding in findings)
    return {
        "counts": {status.value: counts[status] for status in Status},
        "findings": [
            {
                "check": finding.check,
                "status": finding.status.value,
                "text": finding.text,
                "advice": finding.advice,
            }
            for finding in findings
        ],
    }
