"""Process missed events with the plugins that a delivery would run."""

import logging
from collections.abc import Awaitable, Mapping
from datetime import datetime

from ..clock import Clock
from ..errors import StoreUnavailable, StripeUnavailable
from ..events import Event
from ..logs import log_context
from ..plugin_api.registry import Registry
from ..store import Store
from ..store.event_records import HANDLED, REJECTED
from ..stripe_api.objects import StripeData
from ..stripe_api.transport import STRIPE_VERSION
from ..webhooks.outcome import Outcome
from ..webhooks.processor import EventProcessor, Replayed
from .findings import GRACE_PERIOD, Finding, Reporter

logger = logging.getLogger(__name__)


class Redelivery:
    """Runs plugins on missed events, for all sweeps of one run.

    In a dry run it only reports what is missing.

    Args:
        store: The database.
        registry: The plugins.
        processor: Processes an event as a delivery does.
        clock: Returns the present time.
        reporter: Gets the findings.
        dry_run: Whether to process nothing.
    """

    def __init__(
        self,
        store: Store,
        registry: Registry,
        processor: EventProcessor,
        clock: Clock,
        reporter: Reporter,
        *,
        dry_run: bool,
    ) -> None:
        self.dry_run = dry_run
        self._store = store
        self._registry = registry
        self._processor = processor
        self._clock = clock
        self._reporter = reporter
        self._first_seen: Mapping[str, datetime] = {}

    async def load_first_seen(self) -> None:
        """Record plugins that are new to the database, and load when it first saw each plugin."""
        if not self.dry_run:
            names = [plugin.name for plugin in self._registry.plugins]
            await self._store.first_seen.note(names, self._clock())
        self._first_seen = await self._store.first_seen.read()

    def unfinished_plugins(self, event_type: str, runs: Mapping[str, str]) -> set[str]:
        """Return the plugins of an event type that still have to run.

        Args:
            event_type: The type of the event.
            runs: The status of each plugin that has run on the event, by name.
        """
        names = {plugin.name for plugin in self._registry.plugins_for(event_type)}
        return {name for name in names if runs.get(name) not in HANDLED}

    def excluded_plugins(self, event: Event, runs: Mapping[str, str]) -> frozenset[str]:
        """Return the plugins that must not get an event because they were installed after it.

        A plugin with `catch_up`, and a plugin that has already run on the event, get it anyway. A
        plugin that the database has never seen counts as installed now.

        Args:
            event: The event.
            runs: The status of each plugin that has run on the event, by name.
        """
        return frozenset(
            plugin.name
            for plugin in self._registry.plugins_for(event.type)
            if not plugin.catch_up
            and plugin.name not in runs
            and event.created < int(self._first_seen.get(plugin.name, self._clock()).timestamp())
        )

    def is_rejected(self, event_type: str, unfinished: set[str], runs: Mapping[str, str]) -> bool:
        """Return whether another run would change nothing until an operator acts.

        A plugin that moves money and has rejected the event blocks the plugins that do not.

        Args:
            event_type: The type of the event.
            unfinished: What :meth:`unfinished_plugins` has returned, or a part of it.
            runs: The status of each plugin that has run on the event, by name.
        """
        rejected = {name for name in unfinished if runs.get(name) == REJECTED}
        money = self._registry.money_on(event_type)
        waiting = unfinished & money if rejected & money else unfinished
        return waiting <= rejected

    def is_too_recent(self, kind: str, since: int) -> bool:
        """Return whether a dry run cannot judge an object yet, and count it if so.

        Args:
            kind: The kind of the object.
            since: Since when its event may be delivered, in epoch seconds.
        """
        recent = self.dry_run and since > (self._clock() - GRACE_PERIOD).timestamp()
        self._reporter.report.too_recent[kind] += recent
        return recent

    async def redeliver(
        self, kind: str, object_id: str, detail: str, event: Event, runs: Mapping[str, str]
    ) -> None:
        """Process an event unless this is a dry run, and report the finding.

        Args:
            kind: The kind of the object that the finding is about.
            object_id: The id of this object.
            detail: What is missing, for the operator.
            event: The event to process.
            runs: The status of each plugin that has run on the event, by name.
        """
        outcome = None
        if not self.dry_run:
            outcome = await self.process(event, self.excluded_plugins(event, runs))
        await self._reporter.add(Finding(kind, object_id, detail, outcome))

    async def process(self, event: Event, excluded: frozenset[str]) -> str:
        """Process an event without some plugins, and return its outcome."""
        with log_context(event_id=event.id, account_uid=event.account_uid):
            return await self._outcome(self._processor.process(event, without=excluded))

    async def replay(self, event_id: str, excluded: frozenset[str]) -> str:
        """Process an event again without some plugins, and return its outcome."""
        replayed = self._processor.replay(event_id, without=excluded)
        return await self._outcome(_outcome_of(replayed))

    async def _outcome(self, work: Awaitable[Outcome]) -> str:
        """Return the outcome. An unexpected error does not stop the run."""
        try:
            return (await work).value
        except (StripeUnavailable, StoreUnavailable):
            raise
        except Exception:
            logger.exception("reconcile: an event could not be processed")
            return Outcome.FAILED.value


async def _outcome_of(replayed: Awaitable[Replayed]) -> Outcome:
    return (await replayed).outcome


def synthetic_event(event_id: str, event_type: str, data: StripeData) -> Event:
    """Return an event about an object whose own event Stripe no longer has, or never sent.

    Args:
        event_id: An id that Stripe does not use, `reconciled-…`.
        event_type: The type of the event.
        data: The object, in the shape of the API version that the service uses.
    """
    return Event.model_validate(
        {
            "id": event_id,
            "type": event_type,
            "created": data["created"],
            "livemode": data["livemode"],
            "api_version": STRIPE_VERSION,
            "data": {"object": data},
        }
    )
