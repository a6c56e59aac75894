"""Run one scenario: events, two processes, an empty database, and the final state."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import Any

from typing_extensions import override

from ...errors import DatalayerStripeError, KitError, NotAccepted
from ...events import Event
from ...plugin_api.definition import Plugin
from ...plugin_api.isolation import failure_summary
from ...stripe_api.errors import error_summary
from ...webhooks.job_slots import MAX_CONCURRENT_JOBS_PER_PLUGIN
from ...webhooks.observers import Observer
from ...webhooks.outcome import Outcome
from ..database import Database
from ..faults import CommitBarrier, Fault
from ..log_filter import silent_log
from ..plugin_environment import PluginEnvironment, PluginSettings, built_in_plugins
from .process import Process
from .snapshot import OBSERVED, Snapshot, stripe_rows, take_snapshot

Events = Sequence[Mapping[str, Any]]

PROCESSES = 2

MAX_ATTEMPTS = 8
"""How often an event is delivered, or a job is run, until it counts as refused."""


class FailureObserver(Observer):
    """Remembers the errors that plugins raised."""

    def __init__(self) -> None:
        self._errors: list[Exception] = []

    @override
    def on_run(
        self, plugin_name: str, event: Event, outcome: Outcome, error: Exception | None
    ) -> None:
        """Remember the error of a run."""
        if error is not None:
            self._errors.append(error)

    def not_accepted(self, what: str) -> NotAccepted:
        """Return the error for something that was refused, with the last failure as its reason."""
        if not self._errors:
            return NotAccepted(what)
        error = self._errors[-1]
        # The summary of our own errors and of the Stripe SDK's errors is enough; others need their
        # traceback.
        is_known = isinstance(error, DatalayerStripeError) or error_summary(error) is not None
        cause = None if is_known else error
        return NotAccepted(f"{what}; the last error: {failure_summary(error)}", cause)


@dataclass(frozen=True)
class PluginUnderTest:
    """The plugin under test.

    Attributes:
        plugin: The plugin.
        settings: Its settings, by its name.
        after: The events that the built-in plugins process before each scenario.
        observe: Returns the external effects since its last call.
        ignore: The fields of the plugin's documents that may differ.
    """

    plugin: Plugin[Any]
    settings: PluginSettings
    after: Events = ()
    observe: Callable[[], Any] | None = None
    ignore: frozenset[str] = frozenset()


@dataclass
class ScenarioRun:
    """The running processes of one scenario, and the deliveries to them."""

    environment: PluginEnvironment
    failures: FailureObserver = field(default_factory=FailureObserver)
    processes: list[Process] = field(default_factory=list)
    is_concurrent: bool = False
    """Whether jobs wait for each other before they commit."""

    async def deliver(self, event: Mapping[str, Any], to: int = 0) -> bool:
        """Deliver an event once to a process; return whether it was accepted."""
        accepted = await self.processes[to].deliver(event)
        await self.processes[to].settle()
        return accepted

    async def deliver_concurrently(self, events: Events) -> None:
        """Deliver the events concurrently, to the processes in turn; then retry the refused ones.

        Raises:
            NotAccepted: An event was refused in all attempts.
        """
        self.is_concurrent = True
        barrier = CommitBarrier(len(events))
        for process in self.processes:
            process.gate.commit_barrier = barrier

        async def deliver(event: Mapping[str, Any], to: int) -> bool:
            try:
                return await self.processes[to].deliver(event)
            finally:
                barrier.leave()

        deliveries = (deliver(one, n % PROCESSES) for n, one in enumerate(events))
        accepted = await asyncio.gather(*deliveries)
        for process in self.processes:
            await process.settle()
        for event, is_accepted in zip(events, accepted, strict=True):
            if not is_accepted:
                await self.deliver_until_accepted(event, to=1)

    async def deliver_until_accepted(self, event: Mapping[str, Any], to: int = 0) -> None:
        """Deliver an event again and again, as Stripe does.

        Args:
            event: The event.
            to: The process for the first two attempts. If it crashes, the other one is used.

        Raises:
            NotAccepted: The event was refused in all attempts.
        """
        for attempt in range(MAX_ATTEMPTS):
            at = 1 - to if self.processes[to].gate.dead else to
            if await self.deliver(event, at):
                return
            to = at if attempt else to
        raise self.failures.not_accepted(f"{event['type']} was answered 503 {MAX_ATTEMPTS} times")

    async def finish_jobs(self) -> None:
        """Run the deferred jobs to their end.

        Raises:
            NotAccepted: A job failed in all attempts.
        """
        database, now = self.environment.database, self.environment.clock()
        for _ in range(MAX_ATTEMPTS):
            alive = next(one for one in self.processes if not one.gate.dead)
            if self.is_concurrent:
                jobs = await database.documents("jobs")
                parties = min(len(jobs), MAX_CONCURRENT_JOBS_PER_PLUGIN)
                alive.gate.commit_barrier = CommitBarrier(parties)
            await alive.run_due()
            if not await database.documents("jobs"):
                return
            await database.make_jobs_due(now)
        raise self.failures.not_accepted(f"the deferred work failed {MAX_ATTEMPTS} times")


async def run_scenario(
    tested: PluginUnderTest,
    database: Database,
    scenario: Callable[[ScenarioRun], Awaitable[None]],
    events: Events,
    fault: Fault | None = None,
) -> tuple[Snapshot, list[str]]:
    """Run a scenario on an empty database.

    Args:
        tested: The plugin under test.
        database: The database, which is emptied first.
        scenario: Delivers the events.
        events: All events of the scenario. The local Stripe is in the state that they describe.
        fault: The fault of a call of the first process, if any.

    Returns:
        The final state, and the names of the calls of the first process.

    Raises:
        NotAccepted: An event or a job was refused in all attempts.
    """
    await database.empty()
    async with AsyncExitStack() as stack:
        environment = await PluginEnvironment.open(database)
        stack.push_async_callback(environment.stop)
        stack.enter_context(silent_log())  # the injected faults make plugins fail
        await _process_before(environment, tested.after)
        for event in events:
            environment.apply(event)
        before = stripe_rows(environment)
        run = ScenarioRun(environment)
        for number in range(PROCESSES):
            process = await Process.open(
                environment,
                number,
                [tested.plugin],
                tested.settings,
                fault if number == 0 else None,
            )
            stack.push_async_callback(process.close)
            stack.enter_context(process.observers.observed_by(run.failures))
            run.processes.append(process)
        await _observed(tested)  # discard the effects of earlier scenarios
        await scenario(run)
        final = await take_snapshot(environment, tested.plugin, before, tested.ignore)
        if tested.observe is not None:
            observed = {OBSERVED: {"what it returns": await _observed(tested)}}
            final = Snapshot({**final.places, **observed})
        return final, run.processes[0].calls


async def _process_before(environment: PluginEnvironment, events: Events) -> None:
    """Let the built-in plugins process the events that come before the scenario."""
    if not events:
        return
    for event in events:
        environment.apply(event)
    process = await Process.open(environment, 0, built_in_plugins(), {})
    failures = FailureObserver()
    try:
        with process.observers.observed_by(failures):
            for event in events:
                if not await process.deliver(event):
                    raise KitError(str(failures.not_accepted(f"after={event['id']} was refused")))
                await process.settle()
    finally:
        await process.close()


async def _observed(tested: PluginUnderTest) -> Any:
    result = tested.observe() if tested.observe is not None else None
    return await result if asyncio.iscoroutine(result) else result
