"""Give a plugin what it needs in a run. It reads, calls Stripe and records writes.

Nothing is written before the run returns: the service commits what was recorded.
"""

import logging
from collections.abc import Mapping, MutableMapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Generic

from typing_extensions import TypeVar

from ..billing.cards import Cards
from ..billing.catalog import Catalog
from ..billing.plans import Plans
from ..billing.reversals import Reversals
from ..billing.subscriptions import Subscriptions
from ..billing.top_ups import TopUps
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

S = TypeVar("S", default=None)
"""The pydantic model of a plugin's own settings, or None if it has none."""


class Ledger:
    """Records movements of credits."""

    def __init__(self, unit: UnitOfWork, event: Event, now: datetime) -> None:
        self._unit = unit
        self._event = event
        self._now = now

    def credit(self, top_up: TopUp) -> None:
        """Add the credits of a top-up to its account, once for its PaymentIntent.

        Args:
            top_up: The top-up, from `ctx.topups`.
        """
        entry = LedgerEntry(
            id=top_up.payment_intent_id,
            kind="top-up",
            event_id=self._event.id,
            created_at=self._now,
            **top_up.model_dump(exclude={"payment_intent_id"}),
        )
        self._unit.record(Credit(entry))


class ReversalRecorder:
    """Records the credits that refunds and disputes take back, or give back again."""

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
        """Fetch all refunds and disputes of a payment from Stripe, and record what has changed.

        Each change moves credits once, in proportion to the amount. Nothing is recorded for a
        payment of another system on a shared Stripe account.

        Args:
            data: A charge, a refund or a dispute of the payment, as Stripe sends it.

        Raises:
            Retry: The credits of the top-up are not added yet, or Stripe does not list the refund
                or dispute yet.
            Reject: The credits of the top-up were rejected, or the refund or dispute is in another
                currency than its payment.
        """
        fetched = await self._reversals.fetch(data)
        if fetched is not None:
            self._unit.record(
                WriteReversals(
                    **dict(fetched), event_id=self._event.id, at=self._now, floor=self._floor
                )
            )


class SnapshotRecorder:
    """Records snapshots of subscriptions."""

    def __init__(self, unit: UnitOfWork, subscriptions: Subscriptions) -> None:
        self._unit = unit
        self._subscriptions = subscriptions

    async def refresh_from(self, data: Document) -> None:
        """Fetch a subscription from Stripe, and record its snapshot if it is for our products.

        Args:
            data: The subscription, or an invoice of it, as Stripe sends it.

        Raises:
            Reject: Stripe does not have the subscription, or it belongs to no account.
        """
        subscription_id = await self._subscriptions.subscription_id_in(data)
        if subscription_id is not None:
            snapshot, ticket = await self._subscriptions.fetch_snapshot(subscription_id)
            self._unit.record(WriteSnapshot(snapshot, ticket))


class CustomerRecorder:
    """Records changes of the Stripe customer that an account has."""

    def __init__(self, unit: UnitOfWork, now: datetime) -> None:
        self._unit = unit
        self._now = now

    def release(self, customer_id: str) -> None:
        """Record that a customer was deleted: its account gets a new one with its next purchase.

        It is kept as a former customer of its account, so that it is never used again and what it
        has paid is still credited. A customer that belongs to no account is not kept.

        Args:
            customer_id: The customer's id, `cus_…`.
        """
        self._unit.record(ReleaseCustomer(customer_id, self._now))


class PluginCollection:
    """The plugin's own MongoDB collection. Reads are immediate, writes are recorded."""

    def __init__(self, unit: UnitOfWork, store: Store, plugin_name: str) -> None:
        self._unit = unit
        self._store = store
        self.name = f"plugin_{plugin_name}"

    async def find_one(self, query: Document) -> dict[str, Any] | None:
        """Return the first document that matches, without the writes recorded in this run.

        Args:
            query: A MongoDB query.

        Returns:
            The document, or None if none matches.
        """
        return await self._store.find_one(self.name, query)

    def insert_one(self, document: Document) -> None:
        """Record an insert.

        If a document has this `_id` at the commit, nothing of this run is written and the plugin
        is run again.

        Args:
            document: The document, with its `_id`.
        """
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

        Args:
            query: Selects the document.
            update: MongoDB's update operators, such as `{"$inc": {"count": 1}}`.
            upsert: Whether a document is inserted if none matches.
            expect: What else the document must hold at the commit. If no document matches both,
                nothing of this run is written and the plugin is run again.
        """
        self._unit.record(UpdateOne(self.name, query, update, upsert=upsert, expect=expect))

    def delete_one(self, query: Document) -> None:
        """Record a delete of the first document that matches.

        Args:
            query: A MongoDB query.
        """
        self._unit.record(DeleteOne(self.name, query))


class PluginLogger(logging.LoggerAdapter[logging.Logger]):
    """A logger that adds the plugin's name. Each line has the event and its account already."""

    def process(
        self, msg: Any, kwargs: MutableMapping[str, Any]
    ) -> tuple[Any, MutableMapping[str, Any]]:
        """Add the plugin's name to the fields of the line."""
        kwargs["extra"] = {**(self.extra or {}), **(kwargs.get("extra") or {})}
        return msg, kwargs


@dataclass(frozen=True)
class Context(Generic[S]):
    """What a plugin's function is given. `Context[MySettings]` names the type of its settings."""

    now: datetime
    """When the run began, in UTC."""
    settings: S
    """The plugin's own settings, or None if it has none."""
    ledger: Ledger
    """Adds the credits of top-ups."""
    reversals: ReversalRecorder
    """Takes back the credits of refunds and disputes."""
    snapshots: SnapshotRecorder
    """Refreshes the snapshots of subscriptions."""
    customers: CustomerRecorder
    """Releases deleted customers."""
    collection: PluginCollection
    """The plugin's own MongoDB collection."""
    topups: TopUps
    """Reads the top-up that a payment is for."""
    plans: Plans
    """Changes subscriptions at Stripe."""
    cards: Cards
    """Changes the cards of subscriptions."""
    catalog: Catalog
    """Reads the packages and plans for sale."""
    stripe: StripeClient
    """The shared client of Stripe's API."""
    metrics: PluginMetrics
    """The plugin's own metrics in `/metrics`."""
    log: PluginLogger
    """A logger whose lines have the plugin, the event and the account."""
    state: Any
    """What the plugin's lifespan yielded, or None if it has none."""


@dataclass(frozen=True)
class LifespanContext(Generic[S]):
    """What a plugin's lifespan is given."""

    settings: S
    """The plugin's own settings, or None if it has none."""
    stripe: StripeClient
    """The shared client of Stripe's API."""
    metrics: PluginMetrics
    """The plugin's own metrics in `/metrics`."""
    log: PluginLogger
    """A logger whose lines have the plugin."""


@dataclass(frozen=True)
class ContextFactory:
    """Makes a context for each run."""

    store: Store
    stripe: StripeClient
    catalog: Catalog
    topups: TopUps
    plans: Plans
    cards: Cards
    subscriptions: Subscriptions
    metrics: Metrics
    plugin_settings: Mapping[str, Any]
    """The settings of each plugin that has any, by its name."""
    reversals: Reversals
    floor_balances: bool = False
    """Whether taking back too much leaves a debt rather than a balance below zero."""
    states: dict[str, Any] = field(default_factory=dict)
    """What the lifespan of each plugin has yielded, by the plugin's name."""

    def make(self, event: Event, plugin_name: str, unit: UnitOfWork, now: datetime) -> Context[Any]:
        """Return the context of one run.

        Args:
            event: The event that the plugin runs on.
            plugin_name: The plugin's name.
            unit: Takes the writes that the plugin records.
            now: When the run begins, in UTC.
        """
        return Context(
            now=now,
            settings=self.plugin_settings.get(plugin_name),
            ledger=Ledger(unit, event, now),
            reversals=ReversalRecorder(unit, self.reversals, event, now, floor=self.floor_balances),
            snapshots=SnapshotRecorder(unit, self.subscriptions),
            customers=CustomerRecorder(unit, now),
            collection=PluginCollection(unit, self.store, plugin_name),
            topups=self.topups,
            plans=self.plans,
            cards=self.cards,
            catalog=self.catalog,
            stripe=self.stripe,
            metrics=self.metrics.of_plugin(plugin_name),
            log=_logger(plugin_name),
            state=self.states.get(plugin_name),
        )

    def make_for_lifespan(self, plugin_name: str) -> LifespanContext[Any]:
        """Return the context of a plugin's lifespan."""
        return LifespanContext(
            settings=self.plugin_settings.get(plugin_name),
            stripe=self.stripe,
            metrics=self.metrics.of_plugin(plugin_name),
            log=_logger(plugin_name),
        )


def _logger(plugin_name: str) -> PluginLogger:
    return PluginLogger(logging.getLogger("datalayer_stripe.plugins"), {"plugin": plugin_name})
