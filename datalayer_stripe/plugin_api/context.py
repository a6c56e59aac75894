"""What a plugin is given: it reads, asks Stripe, and records writes. It writes nothing itself."""

import logging
from collections.abc import Mapping, MutableMapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Generic

from ..billing.catalog import Catalog
from ..billing.checkout import TopUps
from ..billing.plans import Plans
from ..billing.reversals import Reversals
from ..billing.subscriptions import Subscriptions
from ..events import Event
from ..metrics import Metrics, PluginMetrics
from ..models import LedgerEntry, TopUp
from ..store import Store
from ..store.customers import ReleaseCustomer
from ..store.ledger import Credit
from ..store.reversals import WriteReversals
from ..store.subscriptions import WriteSnapshot
from ..store.unit_of_work import DeleteOne, Document, InsertOne, UnitOfWork, UpdateOne
from ..stripe_api.client import StripeClient
from .definition import Plugin, S


class Ledger:
    """Records credit movements."""

    def __init__(self, unit: UnitOfWork, event: Event, now: datetime) -> None:
        self._unit = unit
        self._event = event
        self._now = now

    def credit(self, top_up: TopUp) -> None:
        """Add a top-up's credits, once for its PaymentIntent, whichever event says so."""
        entry = LedgerEntry(
            id=top_up.payment_intent_id,
            kind="top-up",
            event_id=self._event.id,
            created_at=self._now,
            **top_up.model_dump(exclude={"payment_intent_id"}),
        )
        self._unit.record(Credit(entry))


class ReversalRecorder:
    """Looks at Stripe, and records what refunds and disputes take off an account, or give again."""

    def __init__(
        self,
        unit: UnitOfWork,
        reversals: Reversals,
        event: Event,
        now: datetime,
        *,
        floor: bool,
    ) -> None:
        self._unit = unit
        self._reversals = reversals
        self._event = event
        self._now = now
        self._floor = floor

    async def refresh_from(self, data: Document) -> None:
        """Follow the refunds and disputes of the payment that one of them, or a charge, names.

        Each change moves credits once, in proportion to the amount. Nothing is recorded for
        another system's payment. Raises Retry while the top-up's own credits are not there, or
        Stripe does not list the refund or dispute yet; Reject where the credits never will be
        there, or the refund or dispute is in another currency than its payment.
        """
        look = await self._reversals.look(data)
        if look is not None:
            self._unit.record(
                WriteReversals(
                    **dict(look), event_id=self._event.id, at=self._now, floor=self._floor
                )
            )


class SnapshotRecorder:
    """Looks at Stripe, and records the snapshot of what it sees."""

    def __init__(self, unit: UnitOfWork, subscriptions: Subscriptions) -> None:
        self._unit = unit
        self._subscriptions = subscriptions

    async def refresh_from(self, data: Document) -> None:
        """Refresh the subscription that a subscription or an invoice names, if it is ours.

        Raises Reject when Stripe or we do not know it.
        """
        subscription_id = await self._subscriptions.named_by(data)
        if subscription_id is not None:
            snapshot, ticket = await self._subscriptions.look(subscription_id)
            self._unit.record(WriteSnapshot(snapshot, ticket))


class CustomerRecorder:
    """Records what becomes of the tie between an account and its Stripe customer."""

    def __init__(self, unit: UnitOfWork, now: datetime) -> None:
        self._unit = unit
        self._now = now

    def release(self, customer_id: str) -> None:
        """Record that the customer is gone: its account gets a new one with its next purchase.

        It is kept as a former customer of its account, so that it is never used again and what it
        has paid is still credited. A customer that belongs to none of our accounts is not kept.
        """
        self._unit.record(ReleaseCustomer(customer_id, self._now))


class PluginCollection:
    """The plugin's own MongoDB collection: reads now, records its writes."""

    def __init__(self, unit: UnitOfWork, store: Store, plugin_name: str) -> None:
        self._unit = unit
        self._store = store
        self.name = f"plugin_{plugin_name}"

    async def find_one(self, query: Document) -> dict[str, Any] | None:
        """The first document that matches, as it is before this plugin's recorded writes."""
        return await self._store.find_one(self.name, query)

    def insert_one(self, document: Document) -> None:
        """Record an insert. When its `_id` is taken at the commit, the plugin is run again."""
        self._unit.record(InsertOne(self.name, document))

    def update_one(
        self,
        query: Document,
        update: Document,
        *,
        upsert: bool = False,
        expect: Document | None = None,
    ) -> None:
        """Record an update with MongoDB's operators.

        `expect` says what else the document must hold at the commit; when no document matches
        both, nothing of this run is kept and the plugin is run again.
        """
        self._unit.record(UpdateOne(self.name, query, update, upsert=upsert, expect=expect))

    def delete_one(self, query: Document) -> None:
        """Record a delete."""
        self._unit.record(DeleteOne(self.name, query))


class PluginLogger(logging.LoggerAdapter[logging.Logger]):
    """A logger that names its plugin. The event and its account are in the line already."""

    def process(
        self, msg: Any, kwargs: MutableMapping[str, Any]
    ) -> tuple[Any, MutableMapping[str, Any]]:
        kwargs["extra"] = {**(self.extra or {}), **(kwargs.get("extra") or {})}
        return msg, kwargs


@dataclass(frozen=True)
class Context(Generic[S]):
    """One run of one plugin on one event. `Context[MySettings]` says what its settings are."""

    now: datetime
    """When the run began, in UTC."""
    settings: S
    """The plugin's own settings; None where it has none."""
    ledger: Ledger
    """Records credit movements."""
    reversals: ReversalRecorder
    """Records what refunds and disputes take back."""
    snapshots: SnapshotRecorder
    """Records subscription snapshots."""
    customers: CustomerRecorder
    """Records what becomes of an account's customer."""
    collection: PluginCollection
    """The plugin's own MongoDB collection."""
    topups: TopUps
    """Reads top-ups out of PaymentIntents."""
    plans: Plans
    """Changes subscriptions at Stripe."""
    catalog: Catalog
    """Packages and plans for sale."""
    stripe: StripeClient
    """The shared client of Stripe's API."""
    metrics: PluginMetrics
    """The plugin's own figures in `/metrics`."""
    log: PluginLogger
    """A logger that names plugin, event and account."""


@dataclass(frozen=True)
class HookContext(Generic[S]):
    """What `on_start` and `on_stop` are given."""

    settings: S
    """The plugin's own settings; None where it has none."""
    stripe: StripeClient
    """The shared client of Stripe's API."""
    metrics: PluginMetrics
    """The plugin's own figures in `/metrics`."""
    log: PluginLogger
    """A logger that names the plugin."""


@dataclass(frozen=True)
class ContextFactory:
    """Makes a context for each run. `plugin_settings` are by the plugin's name."""

    store: Store
    stripe: StripeClient
    catalog: Catalog
    topups: TopUps
    plans: Plans
    subscriptions: Subscriptions
    metrics: Metrics
    plugin_settings: Mapping[str, Any]
    reversals: Reversals
    floor_balances: bool = False
    """Whether what is taken back leaves a debt rather than a balance below zero."""

    def make(
        self, event: Event, plugin: Plugin[Any], unit: UnitOfWork, now: datetime
    ) -> Context[Any]:
        return Context(
            now=now,
            settings=self.plugin_settings.get(plugin.name),
            ledger=Ledger(unit, event, now),
            reversals=ReversalRecorder(unit, self.reversals, event, now, floor=self.floor_balances),
            snapshots=SnapshotRecorder(unit, self.subscriptions),
            customers=CustomerRecorder(unit, now),
            collection=PluginCollection(unit, self.store, plugin.name),
            topups=self.topups,
            plans=self.plans,
            catalog=self.catalog,
            stripe=self.stripe,
            metrics=self.metrics.of_plugin(plugin.name),
            log=_logger(plugin),
        )

    def make_for_hook(self, plugin: Plugin[Any]) -> HookContext[Any]:
        return HookContext(
            settings=self.plugin_settings.get(plugin.name),
            stripe=self.stripe,
            metrics=self.metrics.of_plugin(plugin.name),
            log=_logger(plugin),
        )


def _logger(plugin: Plugin[Any]) -> PluginLogger:
    return PluginLogger(logging.getLogger("datalayer_stripe.plugins"), {"plugin": plugin.name})
