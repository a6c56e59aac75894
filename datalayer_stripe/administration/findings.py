"""What the checks of the set-up find, for all operators at most once a minute."""

import time
from collections.abc import Callable

from ..billing.cached import Cached
from ..clock import Clock
from ..doctor.context import CheckContext
from ..doctor.report import STARTUP_CHECKS, as_json, run_checks
from .views import Findings


class CachedFindings:
    """Runs the checks that do not send an event to the service itself.

    Args:
        clock: Returns the present time.
        monotonic: Returns the time in seconds, for the age of the findings.
    """

    def __init__(self, clock: Clock, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._make_context: Callable[[], CheckContext] | None = None
        self._cached = Cached(self._run, monotonic)

    async def get(self, make_context: Callable[[], CheckContext]) -> Findings:
        """Return what was found less than a minute ago, or run the checks. No error is raised.

        Args:
            make_context: Returns what the checks look at.
        """
        self._make_context = make_context
        return await self._cached.get()

    async def _run(self) -> Findings:
        assert self._make_context is not None  # noqa: S101 (get() sets it)
        at = self._clock()
        found = await run_checks(self._make_context(), STARTUP_CHECKS)
        return Findings(at=at, **as_json(found))
