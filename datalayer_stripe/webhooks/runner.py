"""Run one plugin on one event within its time limit, and commit its writes with its mark."""

import logging
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from prometheus_client import Histogram

from ..clock import Clock
from ..errors import AlreadyDone, ExpectationFailed
from ..events import Event
from ..metrics import Metrics
from ..plugin_api.context import ContextFactory
from ..plugin_api.definition import Plugin, Registration
from ..plugin_api.isolation import run_checked, run_isolated
from ..store import Store, UnitOfWork
from ..store.marks import Mark
from ..store.unit_of_work import CommitReceipt
from .outcome import Outcome

logger = logging.getLogger(__name__)

# How often a plugin is run if what it has read changes before its commit.
MAX_RUNS = 5

MakeMark = Callable[[Event, str, Any], Mark]
"""Makes a mark from an event, a plugin's name and the present time."""


class Runner:
    """Runs plugins, for deliveries and for deferred jobs."""

    def __init__(
        self, store: Store, contexts: ContextFactory, metrics: Metrics, clock: Clock
    ) -> None:
        self._store = store
        self._contexts = contexts
        self._metrics = metrics
        self._clock = clock
        self._seconds: dict[str, Histogram] = {}

    async def run(
        self,
        plugin: Plugin[Any],
        registration: Registration[Any],
        event: Event,
        make_mark: MakeMark = Mark,
        *,
        is_new_event: bool = False,
    ) -> Outcome:
        """Run the plugin, and commit what it has recorded together with its mark.

        Each run gets a copy of the event, unless the plugin needs no isolation: a plugin that
        changes it changes neither what other plugins see nor what is stored.

        Args:
            plugin: The plugin.
            registration: Its function for the event's type.
            event: The verified event.
            make_mark: What marks the event as finished by the plugin.
            is_new_event: Whether the event probably has no document yet.

        Returns:
            PROCESSED, or DUPLICATE if the mark is set already. In the latter case, and if this
            raises, nothing is written.

        Raises:
            Reject: The plugin rejects the event.
            PluginFault: The plugin exceeded its time limit or did what no plugin may do.
            Exception: Whatever else the plugin or :meth:`.Store.commit` raises.
        """
        started = time.perf_counter()
        try:
            receipt = await self._run(
                plugin, registration, event, make_mark, is_new_event=is_new_event
            )
        finally:
            self._seconds_of(plugin.name).observe(time.perf_counter() - started)
        if receipt is None:
            return Outcome.DUPLICATE
        self._metrics.credits_added.inc(receipt.credits_added)
        self._metrics.credits_taken_back.inc(receipt.credits_taken_back)
        for ledger_id in receipt.already_credited:
            logger.info("already credited by another event", extra={"ledger_id": ledger_id})
        return Outcome.PROCESSED

    async def _run(
        self,
        plugin: Plugin[Any],
        registration: Registration[Any],
        event: Event,
        make_mark: MakeMark,
        *,
        is_new_event: bool,
    ) -> CommitReceipt | None:
        """Run the plugin and commit, again if what it has read changes before its commit.

        Returns:
            None if the mark is set already.
        """
        for number in range(1, MAX_RUNS + 1):
            now = self._clock()
            unit = UnitOfWork()
            context = self._contexts.make(event, plugin.name, unit, now)
            if plugin.needs_isolation:
                work = registration.function(event.copied(), context)
                await run_isolated(work, registration.seconds)
            else:
                await run_checked(registration.function(event, context))
            mark = replace(
                make_mark(event, plugin.name, now),
                writes=len(unit.operations),
                is_new_event=is_new_event,
            )
            try:
                return await self._store.commit(unit, mark)
            except AlreadyDone:
                return None
            except ExpectationFailed:
                if number == MAX_RUNS:
                    raise
        raise AssertionError("the last run returns or raises")

    def _seconds_of(self, plugin_name: str) -> Histogram:
        """Return the series of a plugin's durations: its label is looked up once."""
        found = self._seconds.get(plugin_name)
        if found is None:
            found = self._seconds[plugin_name] = self._metrics.run_seconds.labels(plugin_name)
        return found
