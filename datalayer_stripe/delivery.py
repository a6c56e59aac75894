"""The path of a delivery: verify, parse, run each plugin that has not finished, commit, answer.

Plugins decide, the store commits. Nothing here writes but the commit and the record of an attempt.
"""

import logging
import traceback
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path

from pydantic import SecretStr

from .clock import Clock
from .context import ContextFactory
from .errors import (
    DatalayerStripeError,
    DeliveryFailed,
    ExpectationFailed,
    InvalidRequest,
    PluginSignal,
    Reject,
)
from .events import Event, parse, verify
from .logs import log_context
from .metrics import Metrics
from .registry import Plugin, Registry
from .shapes import metadata_of
from .store import Store, UnitOfWork
from .store.events import AlreadyDone, Mark

logger = logging.getLogger(__name__)

# How often a plugin is run when what it had read changes before its commit.
_RUNS = 5


class Outcome(StrEnum):
    """How a delivery, or one plugin's part of it, ended. All but FAILED are answered 200."""

    PROCESSED = "processed"
    DUPLICATE = "duplicate"
    IGNORED = "ignored"
    REJECTED = "rejected"
    FAILED = "failed"


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

    async def receive(self, body: bytes, signature: str | None) -> tuple[Event, Outcome]:
        """Work on one delivery. It is durable when this returns.

        Raises InvalidSignature for a stranger's, InvalidRequest for what is no event or one of
        the other mode, DeliveryFailed or StoreUnavailable for what is to be delivered again.
        """
        verify(body, signature, self._secrets, self._clock().timestamp())
        event = parse(body)
        with log_context(event_id=event.id, account_uid=_account_uid(event)):
            if event.livemode is not self._livemode:
                mode = "live" if self._livemode else "test"
                logger.error("An event of the other mode came in: this service has %s keys", mode)
                # Not 200: once the endpoint is put right, Stripe's next try must still come.
                raise InvalidRequest(f"This endpoint takes events of {mode} mode only.")
            outcome = await self.process(event)
            logger.info("delivery", extra={"type": event.type, "outcome": outcome.value})
        if outcome is Outcome.FAILED:
            raise DeliveryFailed
        return event, outcome

    async def process(self, event: Event) -> Outcome:
        """Run the plugins of a verified event that have not finished it."""
        # An event of a connected account is about objects that are not in ours:
        # docs.stripe.com/connect/webhooks.
        plugins = () if event.account else self._registry.plugins_for(event.type)
        if not plugins:
            return self._counted("other", Outcome.IGNORED)
        finished = await self._store.events.finished(event.id)
        outcomes = {
            Outcome.DUPLICATE if plugin.name in finished else await self._run(plugin, event)
            for plugin in plugins
        }
        return self._counted(event.type, next(one for one in _BY_WEIGHT if one in outcomes))

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


def _account_uid(event: Event) -> str | None:
    """For the log alone: whose event it seems to be."""
    account_uid = metadata_of(event.object).get("account_uid")
    return account_uid if isinstance(account_uid, str) else None


def _summary(error: Exception) -> str:
    """What is kept of a failure: a plugin's own words, else the error's kind and place.

    Not an unknown error's text, which may hold a token or somebody's data.
    """
    if isinstance(error, PluginSignal):
        return error.reason
    frames = traceback.extract_tb(error.__traceback__)
    place = f" at {Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else ""
    return f"{type(error).__name__}{place}"
