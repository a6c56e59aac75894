"""Run the checks in the background when `serve` starts, for its log and `/readyz`."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import timedelta

from ..clock import Clock
from ..errors import StoreUnavailable
from ..store.check_reports import CheckReports
from ..tasks import cancel_and_wait
from .checks import Check, Status
from .context import CheckContext
from .report import STARTUP_CHECKS, run_checks

logger = logging.getLogger(__name__)

REPEAT_SECONDS = 600.0
"""The checks run again after this time while there are problems, to see that they are fixed."""

READ_SECONDS = 5.0
"""How often a process that does not run the checks itself reads their report."""

# Problems are reported again after each repetition, so an older report is of a process that ended.
_MAX_REPORT_AGE = timedelta(seconds=2 * REPEAT_SECONDS)

_LEVELS = {Status.WARNING: logging.WARNING, Status.ERROR: logging.ERROR}


class CheckResults:
    """The problems that the checks have found, for `/readyz`."""

    def __init__(self) -> None:
        self.problems: Mapping[str, str] = {}
        """What to do, by the name of the check. `/readyz` is public: it contains no found value."""


class StartupChecks:
    """Background task of one process. Use :meth:`.Service.startup_checks` to create one.

    It neither delays the start nor changes whether the process is ready.

    Args:
        make_context: Returns what the checks look at, without what an earlier run has read.
        results: Gets the problems.
        reports: The report that all processes share.
        clock: Returns the present time.
        examines: Whether this process runs the checks. If not, it reads the report.
        checks: The checks.
    """

    def __init__(
        self,
        make_context: Callable[[], CheckContext],
        results: CheckResults,
        reports: CheckReports,
        clock: Clock,
        *,
        examines: bool = True,
        checks: Sequence[Check] = STARTUP_CHECKS,
    ) -> None:
        self._make_context = make_context
        self._results = results
        self._reports = reports
        self._clock = clock
        self._examines = examines
        self._checks = checks
        self._logged: set[tuple[str, str]] = set()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Run the task inside the `async with` block."""
        task = asyncio.create_task(self._examine() if self._examines else self._follow())
        try:
            yield
        finally:
            await cancel_and_wait(task)

    async def examine_once(self) -> Mapping[str, str]:
        """Run the checks, log what has changed since the last run, and return the problems."""
        findings = await run_checks(self._make_context(), self._checks)
        found = [finding for finding in findings if finding.is_problem]
        for finding in found:
            if (finding.check, finding.text) not in self._logged:
                logger.log(
                    _LEVELS[finding.status],
                    "doctor: %s",
                    finding.text,
                    extra={"check": finding.check, "advice": finding.advice},
                )
        self._logged = {(finding.check, finding.text) for finding in found}
        problems = {finding.check: finding.advice or "" for finding in found}
        self._results.problems = problems
        with suppress(StoreUnavailable):  # /readyz reports it
            await self._reports.write(self._clock(), problems)
        return problems

    async def read_report(self) -> None:
        """Take over the problems that another process has found."""
        with suppress(StoreUnavailable):  # /readyz reports it
            self._results.problems = await self._reports.read(self._clock() - _MAX_REPORT_AGE)

    async def _examine(self) -> None:
        problems = await self.examine_once()
        while problems:
            await asyncio.sleep(REPEAT_SECONDS)
            problems = await self.examine_once()
        logger.info("doctor: no problem found")

    async def _follow(self) -> None:
        while True:
            await self.read_report()
            await asyncio.sleep(READ_SECONDS)
