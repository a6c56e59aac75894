"""The store: one attribute for each collection, and the commit."""

from datetime import UTC, datetime
from typing import Any

from pymongo import WriteConcern
from pymongo.errors import ExecutionTimeout

from ..clock import Clock
from ..errors import PluginFault
from .accounts import Accounts
from .audits import Audits
from .change_stream import Changes
from .commit import Committer, Unmarked, Work
from .customers import Customers
from .errors import translated
from .events import Events, Mark
from .first_seen import FirstSeen
from .idempotency_keys import IdempotencyKeys
from .jobs import Jobs
from .leases import Leases
from .ledger import Ledger
from .open_payment_intents import OpenPaymentIntents
from .plugin_client import PluginReads
from .reversals import Reversals
from .subscriptions import Subscriptions
from .unit_of_work import CommitReceipt, Document, Operation, UnitOfWork

# A read of a plugin's own collection that takes longer is ended by the server.
PLUGIN_READ_SECONDS = 5.0


class Store:
    """Use :func:`datalayer_stripe.store.connect` to make one.

    Args:
        client: what `database` and `committer` use.
        in_memory: whether it is `memory://`, in this process, with no server that tells the time.
        plugin_client: the same server by connections and threads of its own, for the plugins.
        plugin_database: the same database by `plugin_client`.
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
        self._in_memory = in_memory
        self._plugin_client = plugin_client
        self._plugin_database = plugin_database
        self._plugin_reads = PluginReads()
        self._committer = committer
        self.events = Events(database)
        self.jobs = Jobs(database)
        self.accounts = Accounts(database)
        self.customers = Customers(database)
        self.subscriptions = Subscriptions(database)
        self.ledger = Ledger(database)
        self.reversals = Reversals(database)
        self.open_payment_intents = OpenPaymentIntents(database)
        self.idempotency_keys = IdempotencyKeys(database)
        self.audits = Audits(database)
        self.leases = Leases(database)
        self.first_seen = FirstSeen(database)
        self.changes = changes

    async def commit(self, unit: UnitOfWork, mark: Mark) -> CommitReceipt:
        """Commit a plugin's writes with its mark: see :class:`.commit.Committer`."""
        return await self._committer.commit(Work(unit, mark))

    async def repair(self, operation: Operation) -> CommitReceipt:
        """Commit one write of :mod:`.repairs`, which finds out itself what there is to do.

        Raises:
            ExpectationFailed: another repair has just added a row of the same id. Try again.
            StoreUnavailable: the database does not answer.
        """
        return await self._committer.commit(Work(UnitOfWork([operation]), Unmarked()))

    @translated
    async def find_one(self, collection: str, query: Document) -> dict[str, Any] | None:
        """Return the first document of a plugin's collection that matches, or None.

        Raises:
            PluginFault: the query took longer than PLUGIN_READ_SECONDS.
            StoreUnavailable: the database does not answer, or other reads of this collection
                have taken too long.
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

    @translated
    async def now(self, clock: Clock) -> datetime:
        """Return the time of the database server, which all processes share.

        `clock`, that of this process, tells it on `memory://`.
        """
        if self._in_memory:
            return clock()
        hello = await self._client.admin.command("hello")
        local_time: datetime = hello["localTime"]
        return local_time.replace(tzinfo=UTC)  # a command's answer has no time zone; BSON's is UTC

    @translated
    async def ping(self) -> None:
        """Raises StoreUnavailable when the database does not answer."""
        await self._client.admin.command("ping")

    @translated
    async def write_durably(self, *, seconds: float) -> None:
        """Write a small document, and wait until a majority of the replica set has it.

        On `memory://` there is nobody to wait for.

        Raises:
            StoreUnavailable: no majority has it within `seconds`.
        """
        if self._in_memory:
            return
        majority = WriteConcern("majority", wtimeout=int(seconds * 1000))
        database = self._database.with_options(write_concern=majority)
        await database.service.update_one(
            {"_id": "readiness"}, {"$inc": {"writes": 1}}, upsert=True
        )

    async def close(self) -> None:
        await self.changes.close()
        self._client.close()
        self._plugin_client.close()
