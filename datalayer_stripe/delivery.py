"""The path of a delivery: verify, parse, run each plugin that has not finished, commit, answer.

Plugins decide, the store commits. Nothing here writes but the commit and the record of an attempt.
"""

import asyncio
import logging
import traceback
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path

from pydantic import SecretStr

from .admission import Admission
from .clock import Clock
from .context import ContextFactory
from .errors import (
    DatalayerStripeError,
    DeliveryFailed,
    ExpectationFailed,
    InvalidRequest,
    Overloaded,
    PluginSignal,
    Reject,
    StoreUnavailable,
)
from .events import Event, parse, verify
from .logs import log_context
from .metrics import Metrics
from .registry import Plugin, Registry
from .shapes import account_uid_of, id_of
from .store import Store, UnitOfWork
from .store.events import DONE, AlreadyDone, EventRecord, Mark

logger = logging.getLogger(__name__)

# How often a plugin is run when what it had read changes before its commit.
_RUNS = 5

# Stripe gives up on an answer after some 20 s. Ours comes before, whatever hangs.
ANSWER_SECONDS = 15.0
PLUGIN_SECONDS = 10.0


class Outcome(StrEnum):
    """How a delivery, or one plugin's part of it, ended. The last two are answered 503."""

    PROCESSED = "processed"
    DUPLICATE = "duplicate"
    IGNORED = "ignored"
    REJECTED = "rejected"
    FAILED = "failed"
    OVERLOADED = "overloaded"


# A delivery's outcome is the one of its plugins' that an operator would want to know first.
_BY_WEIGHT = (Outcome.FAILED, Outcome.REJECTED, Outcome.PROCESSED, Outcome.DUPLICATE)


class Deliveries:
    """Receives the deliveries of one webhook endpoint, of one mode."""

    def __init__(
        self,
        store: Store,
        registry: Registry,
        contexts: ContextFactory,
        metrics: Metrics,
        clock: Clock,
        *,
        secrets: Sequence[SecretStr],
        livemode: bool,
    ) -> None:
        self._store = store
        self._registry = registry
        self._contexts = contexts
        self._metrics = metrics
        self._clock = clock
        self._secrets = tuple(secrets)
        self._livemode = livemode
        self._admission = Admission(metrics.deliveries_in_flight)
        self._under_way: set[asyncio.Task[Outcome]] = set()

    async def receive(self, body: bytes, signature: str | None) -> tuple[Event, Outcome]:
        """Work on one delivery. It is durable when this returns.

        Raises InvalidSignature for a stranger's, InvalidRequest for what is no event or one of
        the other mode, DeliveryFailed or StoreUnavailable for what is to be delivered again.
        """
        verify(body, signature, self._secrets, self._clock().timestamp())
        event = parse(body)
        with log_context(event_id=event.id, account_uid=account_uid_of(event.object)):
            if event.livemode is not self._livemode:
                mode = "live" if self._livemode else "test"
                logger.error("An event of the other mode came in: this service has %s keys", mode)
                # Not 200: once the endpoint is put right, Stripe's next try must still come.
                raise InvalidRequest(f"This endpoint takes events of {mode} mode only.")
            outcome = await self._in_time(event)
            logger.info("delivery", extra={"type": event.type, "outcome": outcome.value})
        if outcome is Outcome.FAILED:
            raise DeliveryFailed
        return event, outcome

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
        done, _ = await asyncio.wait({task}, timeout=ANSWER_SECONDS)
        if not done:
            task.add_done_callback(_log_late)
            raise DeliveryFailed("The event is still being worked on.")
        return task.result()

    async def _admitted(self, event: Event) -> Outcome:
        try:
            with self._admission.admitted(_owner(event), event.type):
                return await self.process(event)
        except Overloaded:
            self._counted("other", Outcome.OVERLOADED)
            raise

    async def idle(self) -> None:
        """Return when nothing is under way, what was late included."""
        while self._under_way:
            await asyncio.wait(self._under_way)

    async def process(self, event: Event) -> Outcome:
        """Run the plugins of a verified event that have not finished it.

        Raises StoreUnavailable when not even the attempt could be kept.
        """
        # An event of a connected account is about objects that are not in ours:
        # docs.stripe.com/connect/webhooks.
        plugins = () if event.account else self._registry.plugins_for(event.type)
        if not plugins:
            return self._counted("other", Outcome.IGNORED)
        try:
            return self._counted(event.type, await self._run_all(plugins, event))
        except StoreUnavailable:
            self._counted(event.type, Outcome.FAILED)
            raise

    async def _run_all(self, plugins: Sequence[Plugin], event: Event) -> Outcome:
        runs = (await self._store.events.runs([event.id])).get(event.id, {})
        outcomes = {
            Outcome.DUPLICATE if runs.get(plugin.name) == DONE else await self._run(plugin, event)
            for plugin in plugins
        }
        return next(one for one in _BY_WEIGHT if one in outcomes)

    async def replay(self, event_id: str) -> Outcome:
        """Process an event once more, kept by us or fetched from Stripe. Safe to repeat.

        Raises StripeObjectMissing when neither has it.
        """
        kept = await self._store.events.get(event_id)
        if kept and self._is_done(kept):
            return Outcome.DUPLICATE
        payload = kept.payload if kept else None
        if payload is None:
            payload = await self._contexts.stripe.retrieve_event(event_id)
        event = Event.model_validate(payload)
        with log_context(event_id=event.id, account_uid=account_uid_of(event.object)):
            return await self.process(event)

    def _is_done(self, kept: EventRecord) -> bool:
        done = {name for name, run in kept.handlers.items() if run.status == DONE}
        return done >= {plugin.name for plugin in self._registry.plugins_for(kept.type)}

    async def _run(self, plugin: Plugin, event: Event) -> Outcome:
        """Run one plugin to its end: committed, rejected, or failed and to be tried again."""
        try:
            return await self._run_and_commit(plugin, event)
        except Reject as signal:
            logger.warning("rejected", extra={"plugin": plugin.name, "reason": signal.reason})
            kept = await self._store.events.record_rejection(
                event, plugin.name, signal.reason, self._clock()
            )
            return Outcome.REJECTED if kept else Outcome.DUPLICATE
        # A plugin is other people's code: whatever it raises is its own failure, and no other's.
        except Exception as error:
            summary = _summary(error)
            # What we raise ourselves says all; only a stranger's error needs its traceback.
            known = isinstance(error, DatalayerStripeError)
            extra = {"plugin": plugin.name, "error": summary}
            logger.error("failed", extra=extra, exc_info=None if known else error)
            kept = await self._store.events.record_failure(
                event, plugin.name, summary, self._clock()
            )
            return Outcome.FAILED if kept else Outcome.DUPLICATE

    async def _run_and_commit(self, plugin: Plugin, event: Event) -> Outcome:
        function = plugin.function_for(event.type)
        for last in (False,) * (_RUNS - 1) + (True,):
            now = self._clock()
            unit = UnitOfWork()
            async with asyncio.timeout(PLUGIN_SECONDS):
                await function(event, self._contexts.make(event, plugin.name, unit, now))
            try:
                receipt = await self._store.commit(unit, Mark(event, plugin.name, now))
            except AlreadyDone:
                return Outcome.DUPLICATE
            except ExpectationFailed:
                if last:
                    raise
                continue
            break
        self._metrics.credits_added.inc(receipt.credits_added)
        for ledger_id in receipt.already_credited:
            logger.info("credited before, by another event", extra={"ledger_id": ledger_id})
        return Outcome.PROCESSED

    def _counted(self, label: str, outcome: Outcome) -> Outcome:
        # Types without a plugin share a label: anybody's new type must not be a new time series.
        self._metrics.deliveries.labels(label, outcome.value).inc()
        return outcome


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


def _summary(error: Exception) -> str:
    """What is kept of a failure: a plugin's own words, else the error's kind and place.

    Not an unknown error's text, which may hold a token or somebody's data.
    """
    if isinstance(error, PluginSignal):
        return error.reason
    frames = traceback.extract_tb(error.__traceback__)
    place = f" at {Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else ""
    return f"{type(error).__name__}{place}"
