"""The store: one attribute for each collection, and the commit."""

from typing import Any

from .accounts import Accounts
from .audits import Audits
from .changes import Changes
from .commit import Committer, Work
from .customers import Customers
from .errors import translated
from .events import Events, Mark
from .jobs import Jobs
from .leases import Leases
from .ledger import Ledger
from .open_top_ups import OpenTopUps
from .reversals import Reversals
from .subscriptions import Subscriptions
from .unit import CommitReceipt, Document, UnitOfWork


class Store:
    """Use :func:`datalayer_stripe.store.connect` to make one."""

    def __init__(self, client: Any, database: Any, committer: Committer, changes: Changes) -> None:
        self._client = client
        self._database = database
        self._committer = committer
        self.events = Events(database)
        self.jobs = Jobs(database)
        self.accounts = Accounts(database)
        self.customers = Customers(database)
        self.subscriptions = Subscriptions(database)
        self.ledger = Ledger(database)
        self.reversals = Reversals(database)
        self.open_top_ups = OpenTopUps(database)
        self.audits = Audits(database)
        self.leases = Leases(database)
        self.changes = changes

    async def commit(self, unit: UnitOfWork, mark: Mark) -> CommitReceipt:
        """Commit a plugin's writes with its mark: see :class:`.commit.Committer`."""
        return await self._committer.commit(Work(unit, mark))

    @translated
    async def find_one(self, collection: str, query: Document) -> dict[str, Any] | None:
        """The first document of a collection that matches, or None."""
        found: dict[str, Any] | None = await self._database[collection].find_one(dict(query))
        return found

    @translated
    async def ping(self) -> None:
        """Raises StoreUnavailable when the database does not answer."""
        await self._client.admin.command("ping")

    async def close(self) -> None:
        await self.changes.close()
        self._client.close()
