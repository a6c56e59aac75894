"""The context of a run and of a lifespan: what a plugin's functions are given."""

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
from ..store import Store
from ..store.unit_of_work import UnitOfWork
from ..stripe_api.client import StripeClient
from .recorders import (
    CustomerRecorder,
    Ledger,
    PluginCollection,
    ReversalRecorder,
    SnapshotRecorder,
)

S = TypeVar("S", default=None)
"""The pydantic model of a plugin's own settings, or None if it has none."""


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
