"""The store: an attribute for each collection, and the commit."""

from datetime import UTC, datetime
from typing import Any

from pymongo import WriteConcern
from pymongo.errors import ExecutionTimeout

from ..clock import Clock
from ..errors import PluginFault
from .accounts import Accounts
from .audits import Audits
from .change_stream import Changes
from .check_reports import CheckReports
from .commit import Committer, NoMark, Work
from .customers import Customers
from .driver import close
from .errors import translate_errors
from .event_lists import EventLists
from .events import Events
from .first_seen import FirstSeen
from .idempotency_keys import IdempotencyKeys
from .inspection import Inspection
from .jobs import Jobs
from .last_runs import LastRuns
from .leases import Leases
from .ledger import Ledger
from .marks import Mark
from .open_payment_intents import OpenPaymentIntents
from .overviews import Overviews
from .plugin_reads import PluginReads
from .reversals import Reversals
from .stripe_permits import StripePermits
from .subscriptions import Subscriptions
from .unit_of_work import CommitReceipt, Document, Operation, UnitOfWork

# The server aborts a read of a plugin's own collection that takes longer.
PLUGIN_READ_SECONDS = 5.0


class Store:
    """Access to the database. Use :func:`datalayer_stripe.store.connect` to create one.

    Args:
        client: The driver's client.
        database: The client's database.
        committer: Commits units of work.
        changes: Notifies watchers of accounts.
        in_memory: Whether the database is `memory://`, which has no server with a clock.
        plugin_client: Another client of the same server, with its own connections, for the plugins.
        plugin_database: The same database, accessed with `plugin_client`.
    """

    def __init__(
        self,
        client: Any,
        database: Any,
        committer: Committer,
        changes: Changes,
        *,
        in_memory: bool,
        plugin_client: Any,
        plugin_database: Any,
    ) -> None:
        self._client = client
        self._database = database
        self.in_memory = in_memory
        self._plugin_client = plugin_client
        self._plugin_database = plugin_database
        self._plugin_reads = PluginReads()
        self._committer = committer
        self.events = Events(database)
        self.event_lists = EventLists(database)
        self.jobs = Jobs(database)
        self.accounts = Accounts(database)
        self.customers = Customers(database)
        self.subscriptions = Subscriptions(database)
        self.ledger = Ledger(database)
        self.reversals = Reversals(database)
        self.open_payment_intents = OpenPaymentIntents(database)
        self.idempotency_keys = IdempotencyKeys(database)
        self.overviews = Overviews(database)
        self.audits = Audits(database)
        self.leases = Leases(database)
        self.first_seen = FirstSeen(database)
        self.stripe_permits = StripePermits(database)
        self.check_reports = CheckReports(database)
        self.last_runs = LastRuns(database)
        self.inspection = Inspection(client, database)
        self.changes = changes

    async def commit(self, unit: UnitOfWork, mark: Mark) -> CommitReceipt:
        """Commit a plugin's writes with its mark, as :class:`.commit.Committer`.

        Args:
            unit: The writes.
            mark: The mark.
        """
        return await self._committer.commit(Work(unit, mark))

    async def repair(self, operation: Operation) -> CommitReceipt:
        """Commit a repair of :mod:`.repairs`.

        Args:
            operation: The repair.

        Raises:
            ExpectationFailed: Another repair has just added a row with the same id. Try again.
            StoreUnavailable: The database does not answer.
        """
        return await self._committer.commit(Work(UnitOfWork([operation]), NoMark()))

    @translate_errors
    async def find_one(self, collection: str, query: Document) -> dict[str, Any] | None:
        """Return the first document of a plugin's collection that matches, or None.

        Args:
            collection: The name of the collection.
            query: The query.

        Raises:
            PluginFault: The query took longer than PLUGIN_READ_SECONDS.
            StoreUnavailable: The database does not answer, or other reads of this collection
                took too long.
        """

        async def read() -> dict[str, Any] | None:
            found: dict[str, Any] | None = await self._plugin_database[collection].find_one(
                dict(query), max_time_ms=int(PLUGIN_READ_SECONDS * 1000)
            )
            return found

        try:
            return await self._plugin_reads.run(collection, read)
        except ExecutionTimeout as error:
            raise PluginFault(
                f"a read of {collection} took longer than {PLUGIN_READ_SECONDS:g} s"
            ) from error

    @translate_errors
    async def now(self, clock: Clock) -> datetime:
        """Return the time of the database server, which all processes share.

        Args:
            clock: The clock of this process, which is used on `memory://`.
        """
        if self.in_memory:
            return clock()
        hello = await self._client.admin.command("hello")
        local_time: datetime = hello["localTime"]
        return local_time.replace(tzinfo=UTC)  # The answer has no time zone; BSON times are UTC.

    @translate_errors
    async def ping(self) -> None:
        """Check that the database answers.

        Raises:
            StoreUnavailable: The database does not answer.
        """
        await self._client.admin.command("ping")

    @translate_errors
    async def write_durably(self, *, seconds: float) -> None:
        """Write a small document, and wait until a majority of the replica set confirms it.

        On `memory://` nothing is written.

        Args:
            seconds: The timeout.

        Raises:
            StoreUnavailable: No majority has confirmed it before the timeout.
        """
        if self.in_memory:
            return
        majority = WriteConcern("majority", wtimeout=int(seconds * 1000))
        database = self._database.with_options(write_concern=majority)
        await database.service.update_one(
            {"_id": "readiness"}, {"$inc": {"writes": 1}}, upsert=True
        )

    async def close(self) -> None:
        """Close the change stream, wait a moment for commits that run, and close the clients."""
        await self.changes.close()
        await self._committer.close()
        await close(self._client)
        await close(self._plugin_client)
