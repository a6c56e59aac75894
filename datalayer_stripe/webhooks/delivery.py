"""The path of a delivery: verify, parse, run each plugin that has not finished, commit, answer.

Plugins decide, the store commits. Nothing here writes but the commit and the record of an attempt.
"""

import asyncio
import logging
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

from pydantic import SecretStr

from ..clock import Clock
from ..errors import (
    DeliveryFailed,
    InvalidRequest,
    InvalidSignature,
    Overloaded,
    Reject,
    StoreUnavailable,
)
from ..events import Event, parse, verify
from ..limits import Admission, Slot
from ..logs import log_context
from ..metrics import Metrics
from ..plugin_api.definition import Plugin, Registration
from ..plugin_api.registry import Registry, Stage
from ..store import Store, UnitOfWork
from ..store.events import DEFERRED, HANDLED, AlreadyDone, EventRecord
from ..store.jobs import Deferral
from ..stripe_api.client import StripeClient
from ..stripe_api.objects import account_uid_of, id_of
from .runner import Outcome, Runner, report
from .signature_monitor import SignatureMonitor

logger = logging.getLogger(__name__)

# Stripe gives up on an answer after some 20 s. Ours comes before, whatever hangs.
ANSWER_DEADLINE_SECONDS = 15.0

# A delivery's outcome is the one of its plugins' that an operator would want to know first.
_OUTCOME_PRIORITY = (
    Outcome.FAILED,
    Outcome.REJECTED,
    Outcome.PROCESSED,
    Outcome.DEFERRED,
    Outcome.DUPLICATE,
)

# While a plugin that moves money ends like this, those that do not move money do not run.
_BLOCKING_OUTCOMES = frozenset({Outcome.FAILED, Outcome.REJECTED})


class Deliveries:
    """Receives the deliveries of one webhook endpoint, of one mode.

    `on_deferred` is called when work was put off that somebody may do now.
    """

    def __init__(  # noqa: PLR0913 (its parts, and what it checks)
        self,
        store: Store,
        stripe: StripeClient,
        registry: Registry,
        runner: Runner,
        metrics: Metrics,
        clock: Clock,
        *,
        secrets: Sequence[SecretStr],
        livemode: bool,
        on_deferred: Callable[[], None],
    ) -> None:
        self._store = store
        self._stripe = stripe
        self._registry = registry
        self._runner = runner
        self._metrics = metrics
        self._clock = clock
        self._secrets = tuple(secrets)
        self.livemode = livemode
        self._on_deferred = on_deferred
        self._admission = Admission(metrics.deliveries_in_flight)
        self._money_admission = Admission(metrics.deliveries_in_flight)
        self.signatures = SignatureMonitor()
        self._under_way: set[asyncio.Task[Outcome]] = set()

    async def receive(self, body: bytes, signature: str | None) -> tuple[Event, Outcome]:
        """Work on one delivery. It is durable when this returns.

        Raises InvalidSignature for a stranger's, InvalidRequest for what is no event or one of
        the other mode, DeliveryFailed or StoreUnavailable for what is to be delivered again.
        """
        self._verify(body, signature)
        event = parse(body)
        with log_context(event_id=event.id, account_uid=account_uid_of(event.object)):
            if event.livemode is not self.livemode:
                mode = "live" if self.livemode else "test"
                logger.error("An event of the other mode came in: this service has %s keys", mode)
                # Not 200: once the endpoint is put right, Stripe's next try must still come.
                raise InvalidRequest(f"This endpoint takes events of {mode} mode only.")
            outcome = await self._in_time(event)
            logger.info("delivery", extra={"type": event.type, "outcome": outcome.value})
        if outcome is Outcome.FAILED:
            raise DeliveryFailed
        return event, outcome

    def _verify(self, body: bytes, signature: str | None) -> None:
        try:
            verify(body, signature, self._secrets, self._clock().timestamp())
        except InvalidSignature:
            self.signatures.count_refused()
            raise
        self.signatures.count_verified()

    async def catch_up(self, event: Event) -> Outcome:
        """Work on an event that Stripe has and has not delivered yet, as on its delivery.

        Raises Overloaded, DeliveryFailed when it takes too long, and StoreUnavailable.
        """
        with log_context(event_id=event.id, account_uid=account_uid_of(event.object)):
            outcome = await self._in_time(event)
            logger.info("caught up", extra={"type": event.type, "outcome": outcome.value})
        return outcome

    async def _in_time(self, event: Event) -> Outcome:
        """Process, but answer by the deadline. What is late goes on, and counts as in flight."""
        task = asyncio.create_task(self._admitted(event))
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)
        done, _ = await asyncio.wait({task}, timeout=ANSWER_DEADLINE_SECONDS)
        if not done:
            task.add_done_callback(_log_late)
            raise DeliveryFailed("The event is still being worked on.")
        return task.result()

    async def _admitted(self, event: Event) -> Outcome:
        stages = self._stages(event)
        moves_money = bool(stages) and stages[0][0].moves_money
        admission = self._money_admission if moves_money else self._admission
        try:
            with admission.admitted(_owner(event), event.type) as slot:
                return await self.process(event, slot)
        except Overloaded:
            self._counted("other", Outcome.OVERLOADED)
            raise

    async def idle(self) -> None:
        """Return when nothing is under way, what was late included."""
        while self._under_way:
            await asyncio.wait(self._under_way)

    async def process(
        self, event: Event, slot: Slot | None = None, *, without: Collection[str] = ()
    ) -> Outcome:
        """Run the plugins of a verified event that have not finished it.

        Args:
            event: the event.
            slot: the room that it takes, if it was admitted. It leaves the room for what moves
                money once the money has moved.
            without: the names of plugins that are not to run.

        Raises:
            StoreUnavailable: not even the attempt could be kept.
            Overloaded: there is no room for the plugins that move no money. The others have run.
        """
        stages = self._stages(event, without)
        if not stages:
            return self._counted("other", Outcome.IGNORED)
        try:
            return self._counted(event.type, await self._run_all(stages, event, slot))
        except StoreUnavailable:
            self._counted(event.type, Outcome.FAILED)
            raise

    def _stages(self, event: Event, without: Collection[str] = ()) -> Sequence[Stage]:
        # An event of a connected account is about objects that are not in ours:
        # https://docs.stripe.com/connect/webhooks
        return () if event.account else self._registry.stages_for(event.type, without=without)

    async def _run_all(self, stages: Sequence[Stage], event: Event, slot: Slot | None) -> Outcome:
        """Run the stages in order, and the plugins of a stage at once.

        The stages that move money come first, and all of them run. While one of their plugins has
        failed or rejected the event, the other stages do not run: they wait for a delivery or a
        replay in which the money has moved.
        """
        runs = (await self._store.events.runs([event.id])).get(event.id, {})
        outcomes: set[Outcome] = set()
        held_back = False
        for stage in stages:
            moves_money = stage[0].moves_money
            if held_back and not moves_money:
                logger.info("held back", extra={"plugins": _names_after_money(stages)})
                break
            if slot is not None and not moves_money:
                slot.move_to(self._admission)
            ended = await self._run_stage(stage, event, runs)
            held_back |= moves_money and bool(ended & _BLOCKING_OUTCOMES)
            outcomes |= ended
        return next(one for one in _OUTCOME_PRIORITY if one in outcomes)

    async def _run_stage(self, stage: Stage, event: Event, runs: Mapping[str, str]) -> set[Outcome]:
        ended = await asyncio.gather(
            *(self._run_unless_handled(plugin, event, runs) for plugin in stage),
            return_exceptions=True,  # all of them end before one is raised
        )
        outcomes = set()
        for outcome in ended:
            if isinstance(outcome, BaseException):
                raise outcome
            outcomes.add(outcome)
        return outcomes

    async def _run_unless_handled(
        self, plugin: Plugin[Any], event: Event, runs: Mapping[str, str]
    ) -> Outcome:
        if runs.get(plugin.name) in HANDLED:
            return Outcome.DUPLICATE
        return await self._run(plugin, event)

    async def replay(self, event_id: str, *, without: Collection[str] = ()) -> Outcome:
        """Process an event once more, kept by us or fetched from Stripe. Safe to repeat.

        `without` names plugins that are not to run.
        What is deferred is due at once. Raises StripeObjectMissing when neither has it.
        """
        kept = await self._store.events.get(event_id)
        if kept is not None:
            hastened = await self._make_due_now(kept)
            if self._is_handled(kept):
                return Outcome.DEFERRED if hastened else Outcome.DUPLICATE
        event = kept.event if kept else None
        if event is None:
            event = Event.model_validate(await self._stripe.retrieve_event(event_id))
        with log_context(event_id=event.id, account_uid=account_uid_of(event.object)):
            return await self.process(event, without=without)

    def _is_handled(self, kept: EventRecord) -> bool:
        in_hand = {name for name, run in kept.handlers.items() if run.status in HANDLED}
        return in_hand >= {plugin.name for plugin in self._registry.plugins_for(kept.type)}

    async def _make_due_now(self, kept: EventRecord) -> bool:
        """Let its deferred work be due now; whether it has any."""
        deferred = [name for name, run in kept.handlers.items() if run.status == DEFERRED]
        for name in deferred:
            await self._store.jobs.make_due_now(kept.id, name, self._clock())
        if deferred:
            self._on_deferred()
        return bool(deferred)

    async def _run(self, plugin: Plugin[Any], event: Event) -> Outcome:
        """Run one plugin to its end: committed, deferred, rejected, or failed to be tried again."""
        registration = plugin.registration(event.type)
        assert registration is not None  # noqa: S101 (the registry has it for this type)
        try:
            return await self._run_or_defer(plugin, registration, event)
        except Reject as signal:
            logger.warning("rejected", extra={"plugin": plugin.name, "reason": signal.reason})
            kept = await self._store.events.record_rejection(
                event, plugin.name, signal.reason, self._clock()
            )
            return Outcome.REJECTED if kept else Outcome.DUPLICATE
        except Exception as error:
            kept = await self._store.events.record_failure(
                event, plugin.name, report(plugin, error), self._clock()
            )
            return Outcome.FAILED if kept else Outcome.DUPLICATE

    async def _run_or_defer(
        self, plugin: Plugin[Any], registration: Registration[Any], event: Event
    ) -> Outcome:
        if not registration.deferred:
            return await self._runner.run(plugin, registration, event)
        try:
            await self._store.commit(UnitOfWork(), Deferral(event, plugin.name, self._clock()))
        except AlreadyDone:
            return Outcome.DUPLICATE
        self._on_deferred()
        return Outcome.DEFERRED

    def _counted(self, label: str, outcome: Outcome) -> Outcome:
        # Types without a plugin share a label: anybody's new type must not be a new time series.
        self._metrics.deliveries.labels(label, outcome.value).inc()
        return outcome


def _names_after_money(stages: Sequence[Stage]) -> list[str]:
    return [plugin.name for stage in stages for plugin in stage if not plugin.moves_money]


def _log_late(task: asyncio.Task[Outcome]) -> None:
    """Say how a delivery ended that was answered before it did."""
    if task.cancelled():
        return
    if error := task.exception():
        logger.warning("failed late", extra={"cause": type(error).__name__})
    else:
        logger.info("late", extra={"outcome": task.result().value})


def _owner(event: Event) -> str:
    """Whose event it is, as well as can be told at no cost: its deliveries share one bound."""
    owner = account_uid_of(event.object) or id_of(event.object.get("customer"))
    return owner or event.object_id or event.id
