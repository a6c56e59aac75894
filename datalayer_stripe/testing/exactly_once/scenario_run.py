"""One scenario of events through two processes, from an empty database to its end."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from ...errors import KitError
from ...plugin_api.definition import Plugin
from ...webhooks.worker import MAX_CONCURRENT_JOBS_PER_PLUGIN
from ..database import Database
from ..environment import Environment, PluginSettings, built_in_plugins
from ..faults import Cut, Meeting
from .process import Process
from .snapshot import OBSERVED, Snapshot, look, stripe_rows

Events = Sequence[Mapping[str, Any]]

PROCESSES = 2

# How often an event is delivered, or deferred work run, until it counts as refused.
TRIES = 8


class NotAccepted(Exception):
    """Something is refused. `cause` is the error that the plugin has raised, where it is known."""

    def __init__(self, what: str, cause: BaseException | None = None) -> None:
        super().__init__(what)
        self.cause = cause


@dataclass(frozen=True)
class Failure:
    """How a run of the plugin failed: what is kept of it, and the error itself, if it is logged."""

    kept: str
    error: BaseException | None


@dataclass(frozen=True)
class Subject:
    """What is tried: the plugin with its settings, and how its author sees the outside.

    `after` are the events that the built-in plugins have worked on before.
    """

    plugin: Plugin[Any]
    settings: PluginSettings
    after: Events = ()
    observe: Callable[[], Any] | None = None
    ignore: frozenset[str] = frozenset()


@dataclass
class ScenarioRun:
    """The processes of one scenario, while it goes on.

    Attributes:
        failures: of the plugin's runs, in order.
        at_once: whether what runs waits for the others before its commit.
    """

    subject: Subject
    stage: Environment
    failures: list[Failure]
    processes: list[Process] = field(default_factory=list)
    at_once: bool = False

    async def deliver(self, event: Mapping[str, Any], to: int = 0) -> bool:
        """Deliver an event once to a process; whether it was accepted."""
        accepted = await self.processes[to].deliver(event)
        await self.processes[to].settle()
        return accepted

    async def deliver_at_once(self, events: Events) -> None:
        """Deliver all of these at once, in turn to each process, and again what is refused."""
        self.at_once = True
        meeting = Meeting(len(events))
        for process in self.processes:
            process.gate.meeting = meeting

        async def deliver(event: Mapping[str, Any], to: int) -> bool:
            try:
                return await self.processes[to].deliver(event)
            finally:
                meeting.leave()

        deliveries = (deliver(one, n % PROCESSES) for n, one in enumerate(events))
        accepted = await asyncio.gather(*deliveries)
        for process in self.processes:
            await process.settle()
        for event, taken in zip(events, accepted, strict=True):
            if not taken:
                await self.insist(event, to=1)

    async def insist(self, event: Mapping[str, Any], to: int = 0) -> None:
        """Deliver an event until it is accepted. Raises NotAccepted."""
        for attempt in range(TRIES):
            # Where the first process has died there is still the other one.
            at = 1 - to if self.processes[to].gate.dead else to
            if await self.deliver(event, at):
                return
            to = at if attempt else to
        raise self._not_accepted(f"{event['type']} was answered 503 {TRIES} times")

    async def finish(self) -> None:
        """Run what is deferred to its end: all that waits, at once. Raises NotAccepted."""
        database, now = self.stage.database, self.stage.clock()
        for _ in range(TRIES):
            alive = next(one for one in self.processes if not one.gate.dead)
            if self.at_once:
                jobs = await database.documents("jobs")
                alive.gate.meeting = Meeting(min(len(jobs), MAX_CONCURRENT_JOBS_PER_PLUGIN))
            await alive.run_due()
            if not await database.documents("jobs"):
                return
            await database.free_jobs(now)
        raise self._not_accepted(f"the deferred work failed {TRIES} times")

    def _not_accepted(self, what: str) -> NotAccepted:
        if not self.failures:
            return NotAccepted(what)
        return NotAccepted(
            f"{what}, at last for: {self.failures[-1].kept}", self.failures[-1].error
        )


async def run_scenario(
    subject: Subject,
    database: Database,
    scenario: Callable[[ScenarioRun], Awaitable[None]],
    events: Events,
    cut: Cut | None = None,
) -> tuple[Snapshot, list[str]]:
    """Run a scenario; its end, and what the first process has called.

    The database holds what the events before have left, and nothing else. What `events` tell of is
    so at Stripe. Raises NotAccepted.
    """
    await database.empty()
    stage = await Environment.open(database)
    trial = ScenarioRun(subject, stage, [])
    try:
        await _prepare(stage, subject.after)
        for event in events:
            stage.happen(event)
        before = stripe_rows(stage)
        for number in range(PROCESSES):
            its_cut = cut if number == 0 else None
            trial.processes.append(
                await Process.open(stage, number, [subject.plugin], subject.settings, its_cut)
            )
        await _observed(subject)  # what came before is no news
        with _failures(trial.failures):
            await scenario(trial)
        end = await look(stage, subject.plugin, before, subject.ignore)
        if subject.observe is not None:
            end = Snapshot({**end.places, OBSERVED: {"what it returns": await _observed(subject)}})
        return end, trial.processes[0].gate.calls
    finally:
        for process in trial.processes:
            await process.close()
        await stage.close()


async def _prepare(stage: Environment, events: Events) -> None:
    if not events:
        return
    for event in events:
        stage.happen(event)
    process = await Process.open(stage, 0, built_in_plugins(), {})
    failures: list[Failure] = []
    try:
        with _failures(failures):
            for event in events:
                if not await process.deliver(event):
                    reason = f": {failures[-1].kept}" if failures else ""
                    raise KitError(f"What is to come before, {event['id']}, is refused{reason}.")
                await process.settle()
    finally:
        await process.close()


async def _observed(subject: Subject) -> Any:
    seen = subject.observe() if subject.observe is not None else None
    return await seen if asyncio.iscoroutine(seen) else seen


@contextmanager
def _failures(into: list[Failure]) -> Iterator[None]:
    """Keep how runs fail, and nothing of it in the log: of most failures the cut is the reason."""

    class Keep(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if hasattr(record, "error"):
                error = record.exc_info[1] if record.exc_info else None
                into.append(Failure(str(record.error), error))

    ours = logging.getLogger("datalayer_stripe")
    keep, propagate, level = Keep(), ours.propagate, ours.level
    ours.addHandler(keep)
    ours.propagate = False
    ours.setLevel(logging.INFO)  # a Retry is logged at this level
    try:
        yield
    finally:
        ours.propagate = propagate
        ours.setLevel(level)
        ours.removeHandler(keep)
