"""Record the writes of a run, which the service commits together with the plugin's mark.

A recorder reads and calls Stripe, but writes nothing itself.
"""

from datetime import datetime
from typing import Any

from ..billing.reversals import Reversals
from ..billing.subscriptions import Subscriptions
from ..events import Event
from ..models import LedgerEntry, TopUp
from ..store import Store
from ..store.customers import ReleaseCustomer
from ..store.ledger import Credit
from ..store.reversals import WriteReversals
from ..store.subscriptions import WriteSnapshot
from ..store.unit_of_work import DeleteOne, Document, InsertOne, UnitOfWork, UpdateOne


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
            account_uid=top_up.account_uid,
            kind="top-up",
            credits=top_up.credits,
            amount=top_up.amount,
            currency=top_up.currency,
            price_id=top_up.price_id,
            event_id=self._event.id,
            created_at=self._now,
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
            RateLimited: There are too many calls to Stripe: the event is deferred.
        """
        subscription_id = await self._subscriptions.subscription_id_in(data)
        if subscription_id is not None:
            snapshot, ticket = await self._subscriptions.fetch_shared(subscription_id)
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
