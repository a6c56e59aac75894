"""Findings of a reconciliation, and the report of one run."""

import logging
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

logger = logging.getLogger(__name__)

GRACE_PERIOD = timedelta(minutes=5)
"""The deliveries of younger objects may still arrive. Dry runs and audits do not check these."""

EVENT_RETENTION = timedelta(days=30)
"""How long Stripe keeps events: https://docs.stripe.com/api/events."""

NEEDS_REPAIR = "needs repair"
"""The outcome of a finding that no event can correct, but `audit --repair` can."""


@dataclass(frozen=True)
class Finding:
    """Something that Stripe has and the database lacks.

    `outcome` says how the processing ended, as a value of :class:`.Outcome` or NEEDS_REPAIR. It is
    None in a dry run.
    """

    kind: str
    id: str
    detail: str
    outcome: str | None


@dataclass
class Report:
    """Counts of one run.

    Attributes:
        checked: The number of objects that were checked, by kind.
        too_recent: The number of objects that are younger than GRACE_PERIOD, by kind.
        rejected: The number of objects that wait for an operator.
        found: The number of findings, by kind and outcome.
    """

    checked: Counter[str] = field(default_factory=Counter)
    too_recent: Counter[str] = field(default_factory=Counter)
    rejected: int = 0
    found: Counter[tuple[str, str | None]] = field(default_factory=Counter)


class Reporter:
    """Collects what the sweeps of one run report, and calls the callbacks.

    Args:
        report: Is filled during the run.
        on_finding: Is called with each finding.
        on_progress: Is called after each page with the kind, the number of objects of this kind
            that were checked, and the `created` of the last one; 0 at the end of a sweep.
        on_step: Is awaited after each page and each finding.
    """

    def __init__(
        self,
        report: Report,
        *,
        on_finding: Callable[[Finding], None],
        on_progress: Callable[[str, int, int], None],
        on_step: Callable[[], Awaitable[None]] | None,
    ) -> None:
        self.report = report
        self._on_finding = on_finding
        self._on_progress = on_progress
        self._on_step = on_step

    async def add(self, finding: Finding) -> None:
        """Count, log and pass on a finding."""
        kind, outcome = finding.kind, finding.outcome
        self.report.found[kind, outcome] += 1
        self._on_finding(finding)
        logger.info("reconcile", extra={"kind": kind, "id": finding.id, "outcome": outcome})
        await self._step()

    async def track(
        self, kind: str, pages: AsyncIterator[Sequence[dict[str, Any]]]
    ) -> AsyncIterator[Sequence[dict[str, Any]]]:
        """Yield the pages, and count the objects of each page after it was processed."""
        async for page in pages:
            yield page
            self.report.checked[kind] += len(page)
            if page:
                self._on_progress(kind, self.report.checked[kind], page[-1]["created"])
            await self._step()
        self._on_progress(kind, self.report.checked[kind], 0)

    async def _step(self) -> None:
        if self._on_step is not None:
            await self._on_step()
