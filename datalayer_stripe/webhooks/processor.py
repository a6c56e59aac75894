"""Run the plugins of a verified event in their order, and record how each of them ended."""

import asyncio
import logging
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, NamedTuple

from ..clock import Clock
from ..errors import AlreadyDone, Defer, OtherMode, RateLimited, Reject, StoreUnavailable
from ..events import Event
from ..limits import Admission, Slot
from ..logs import log_context
from ..metrics import Metrics
from ..plugin_api.definition import Plugin
from ..plugin_api.isolation import log_deferral, log_failure
from ..plugin_api.registry import Registry, Stage
from ..store import Store, UnitOfWork
from ..store.event_records import DEFERRED, HANDLED, EventRecord
from ..store.job_marks import Deferral
from ..stripe_api.client import StripeClient
from ..stripe_api.rate_limit import DELIVERY_WAIT_SECONDS, own_calls
from ..tracing import NO_TRACER, Tracer
from .observers import Observers
from .outcome import Outcome, combined
from .runner import Runner
from .stripe_events import retrieve_event

logger = logging.getLogger(__name__)

# While a plugin that moves money ends like this, plugins that do not move money are not run.
_BLOCKING_OUTCOMES = frozenset({Outcome.FAILED, Outcome.REJECTED})


class Replayed(NamedTuple):
    """The event that a replay has processed, and how it ended."""

    event_id: str
    outcome: Outcome


@dataclass
class _Progress:
    """What one delivery knows about the work on its event."""

    statuses: Mapping[str, str] | None = None
    """The statuses of the plugins at the start of the delivery; None if they were not read yet."""
    is_new_event: bool = True
    """Whether the event probably has no document."""


class EventProcessor:
    """Processes verified events: in deliveries, in replays and in reconciliation.

    It bounds the deliveries in flight. Events that move money have a bound of their own.

    Args:
        max_deliveries: How many deliveries that move money may be in flight, and how many others.
        on_deferred: Called after a job is committed, so that the worker looks for it at once.
        livemode: The mode of the secret key. A replay of an event of the other mode is refused.
        tracer: Records the runs of the plugins.
    """

    def __init__(  # noqa: PLR0913 (collaborators, a limit, a callback and the mode)
        self,
        store: Store,
        stripe: StripeClient,
        registry: Registry,
        runner: Runner,
        metrics: Metrics,
        clock: Clock,
        observers: Observers,
        *,
        max_deliveries: int,
        on_deferred: Callable[[], None],
        livemode: bool,
        tracer: Tracer = NO_TRACER,
    ) -> None:
        self._store = store
        self._stripe = stripe
        self._registry = registry
        self._runner = runner
        self._metrics = metrics
        self._clock = clock
        self._observers = observers
        self._on_deferred = on_deferred
        self._livemode = livemode
        self._tracer = tracer
        self._admission = Admission(metrics.deliveries_in_flight, limit=max_deliveries)
        self._money_admission = Admission(metrics.deliveries_in_flight, limit=max_deliveries)

    def admission_for(self, event: Event) -> Admission:
        """Return the bound on deliveries that a delivery of this event is counted in."""
        stages = self._stages(event)
        return self._money_admission if stages and stages[0][0].moves_money else self._admission

    async def process(
        self, event: Event, slot: Slot | None = None, *, without: Collection[str] = ()
    ) -> Outcome:
        """Run the plugins of a verified event that have not finished it.

        The stages that move money come first, and all of them run. While one of their plugins has
        failed or rejected the event, the other stages are not run: a later delivery or replay, in
        which the money has moved, runs them.

        Args:
            event: The event.
            slot: The delivery's slot, if it was admitted. It moves to the other bound after the
                stages that move money.
            without: The names of plugins that must not run.

        Returns:
            How the delivery ended.

        Raises:
            StoreUnavailable: The database does not answer, so not even the attempt is recorded.
            Overloaded: There is no slot for the plugins that move no money. The others have run.
        """
        stages = self._stages(event, without)
        if not stages:
            # Types without a plugin share a label: Stripe's new types must not be new time series.
            return self.count("other", Outcome.IGNORED)
        try:
            outcome = await self._run_stages(stages, event, slot)
        except StoreUnavailable:
            self.count(event.type, Outcome.FAILED)
            raise
        return self.count(event.type, outcome)

    async def replay(self, event_id: str, *, without: Collection[str] = ()) -> Replayed:
        """Process an event again, from the database or fetched from Stripe. Safe to repeat.

        Its deferred jobs become due at once.

        Args:
            event_id: The event's id, `evt_…`, or that of its thin event.
            without: The names of plugins that must not run.

        Returns:
            How the replay ended. Of a thin event it has the id of the snapshot event.

        Raises:
            StripeObjectMissing: Neither the database nor Stripe has the event.
            OtherMode: The event in the database is of the other mode.
            StoreUnavailable: The database does not answer.
        """
        record = await self._store.events.get(event_id)
        if record is not None:
            self._check_mode(record)
            any_deferred = await self._make_jobs_due(record)
            if self.is_handled(record):
                outcome = Outcome.DEFERRED if any_deferred else Outcome.DUPLICATE
                return Replayed(event_id, outcome)
        event = record.event if record else None
        if event is None:
            event = await retrieve_event(self._stripe, event_id)
            if event.id != event_id:  # the snapshot event of a thin event
                return await self.replay(event.id, without=without)
        with log_context(event_id=event.id, account_uid=event.account_uid):
            return Replayed(event_id, await self.process(event, without=without))

    def _check_mode(self, record: EventRecord) -> None:
        """Raise OtherMode if a stored event is not of the mode of the secret key."""
        if record.livemode is not self._livemode:
            mode, own = ("live", "test") if record.livemode else ("test", "live")
            raise OtherMode(
                f"Event {record.id} in the database is of {mode} mode, but the secret key is of "
                f"{own} mode."
            )

    def _stages(self, event: Event, without: Collection[str] = ()) -> Sequence[Stage]:
        # An event of a connected account is about objects that are not in our Stripe account:
        # https://docs.stripe.com/connect/webhooks
        return () if event.account else self._registry.stages_for(event.type, without=without)

    async def _run_stages(
        self, stages: Sequence[Stage], event: Event, slot: Slot | None
    ) -> Outcome:
        """Run the stages in order, and the plugins of one stage concurrently."""
        progress = _Progress()
        outcomes: set[Outcome] = set()
        is_blocked = False
        for stage in stages:
            moves_money = stage[0].moves_money
            if is_blocked and not moves_money:
                skipped = [one.name for late in stages for one in late if not one.moves_money]
                logger.info("plugins skipped until the money moves", extra={"plugins": skipped})
                break
            if slot is not None and not moves_money:
                slot.move_to(self._admission)
            stage_outcomes = await self._run_stage(stage, event, progress)
            is_blocked |= moves_money and bool(stage_outcomes & _BLOCKING_OUTCOMES)
            outcomes |= stage_outcomes
        return combined(outcomes)

    async def _run_stage(self, stage: Stage, event: Event, progress: _Progress) -> set[Outcome]:
        """Run those plugins of a stage that have not finished the event."""
        if progress.statuses is None and not all(_finds_duplicates(one, event) for one in stage):
            found = await self._store.events.statuses(event.id)
            progress.statuses = found or {}
            progress.is_new_event &= found is None
        statuses = progress.statuses or {}
        unfinished = [one for one in stage if statuses.get(one.name) not in HANDLED]
        outcomes = {Outcome.DUPLICATE} if len(unfinished) < len(stage) else set()
        is_new_event, progress.is_new_event = progress.is_new_event, False
        if len(unfinished) == 1:
            outcome = await self.run_plugin(unfinished[0], event, is_new_event=is_new_event)
            return {outcome, *outcomes}
        # The first of several plugins inserts the document that the others update.
        ended = await asyncio.gather(
            *(self.run_plugin(plugin, event) for plugin in unfinished),
            return_exceptions=True,  # all of them end before one is raised
        )
        for one in ended:
            if isinstance(one, BaseException):
                raise one
            outcomes.add(one)
        return outcomes

    async def run_plugin(
        self, plugin: Plugin[Any], event: Event, *, is_new_event: bool = False
    ) -> Outcome:
        """Run one plugin, or commit a job for it, and record how it ended.

        Args:
            plugin: The plugin.
            event: The event.
            is_new_event: Whether the event probably has no document yet.

        Returns:
            PROCESSED, DEFERRED, REJECTED or FAILED; DUPLICATE if another delivery has finished or
            deferred it meanwhile.

        Raises:
            StoreUnavailable: The database does not answer.
        """
        raised: Exception | None = None
        with self._tracer.plugin_run(plugin.name, event.id, event.type) as span:
            try:
                outcome = await self._run_or_defer(plugin, event, is_new_event=is_new_event)
            except StoreUnavailable:
                raise  # The plugin has not failed, and its failure could not be recorded.
            except Exception as error:
                raised = error
                outcome = await self._record(plugin, event, error)
            span.end(outcome.value, raised)
        self._observers.run_ended(plugin.name, event, outcome, raised)
        return outcome

    async def _run_or_defer(
        self, plugin: Plugin[Any], event: Event, *, is_new_event: bool
    ) -> Outcome:
        registration = plugin.registration(event.type)
        assert registration is not None  # noqa: S101 (the registry chose it for this type)
        seconds, may_run_early = 0.0, False
        if not registration.deferred:
            try:
                with own_calls(DELIVERY_WAIT_SECONDS):
                    return await self._runner.run(
                        plugin, registration, event, is_new_event=is_new_event
                    )
            except (Defer, RateLimited) as error:
                if isinstance(error, RateLimited) and self._others_wait_for(plugin, event):
                    raise
                seconds = log_deferral(plugin.name, error)
                may_run_early = isinstance(error, RateLimited)
        deferral = Deferral(
            event,
            plugin.name,
            self._clock(),
            delay=timedelta(seconds=seconds),
            may_run_early=may_run_early,
            is_new_event=is_new_event,
            traceparent=self._tracer.traceparent(),
        )
        return await self._defer(deferral)

    def _others_wait_for(self, plugin: Plugin[Any], event: Event) -> bool:
        """Return whether plugins that move no money wait until this one has moved it."""
        plugins = self._registry.plugins_for(event.type)
        return plugin.moves_money and any(not one.moves_money for one in plugins)

    async def _defer(self, deferral: Deferral) -> Outcome:
        try:
            await self._store.commit(UnitOfWork(), deferral)
        except AlreadyDone:
            return Outcome.DUPLICATE
        self._on_deferred()
        return Outcome.DEFERRED

    async def _record(self, plugin: Plugin[Any], event: Event, error: Exception) -> Outcome:
        """Record a run that raised, unless another delivery has finished it meanwhile."""
        events = self._store.events
        if isinstance(error, Reject):
            log_rejection(plugin.name, error.reason)
            kept = await events.record_rejection(event, plugin.name, error.reason, self._clock())
            return Outcome.REJECTED if kept else Outcome.DUPLICATE
        summary = log_failure(plugin.name, error)
        kept = await events.record_failure(event, plugin.name, summary, self._clock())
        return Outcome.FAILED if kept else Outcome.DUPLICATE

    def is_handled(self, record: EventRecord) -> bool:
        """Return whether each plugin of the event's type has finished or deferred it."""
        handled = {name for name, run in record.handlers.items() if run.status in HANDLED}
        return handled >= {plugin.name for plugin in self._registry.plugins_for(record.type)}

    async def _make_jobs_due(self, record: EventRecord) -> bool:
        """Make the event's deferred jobs due now; return whether it has any."""
        deferred = [name for name, run in record.handlers.items() if run.status == DEFERRED]
        for name in deferred:
            await self._store.jobs.make_due_now(record.id, name, self._clock())
        if deferred:
            self._on_deferred()
        return bool(deferred)

    def count(self, event_type: str, outcome: Outcome) -> Outcome:
        """Count how a delivery ended, and return it.

        Args:
            event_type: The type of the event, or `other`.
            outcome: How the delivery ended.
        """
        self._metrics.deliveries.labels(event_type, outcome.value).inc()
        return outcome


def _finds_duplicates(plugin: Plugin[Any], event: Event) -> bool:
    """Return whether the commit finds a duplicate in time, so that no read is needed before it."""
    registration = plugin.registration(event.type)
    return plugin.only_records or (registration is not None and registration.deferred)


def log_rejection(plugin_name: str, reason: str) -> None:
    """Log that a plugin has rejected an event, and why."""
    logger.warning("plugin rejected the event", extra={"plugin": plugin_name, "reason": reason})
