"""Check after a run that each delivery was recorded once, and that its credits arrived once."""

from typing import Any

from pymongo import MongoClient

from benchmarks.requests import CREDITS

Row = dict[str, Any]


class BooksError(Exception):
    """Credits were lost or added twice."""


class Books:
    """Checks the events, ledger rows and accounts of one database.

    Args:
        client: A client whose default database it is.
    """

    def __init__(self, client: MongoClient[Row]) -> None:
        self._client = client
        self._database = client.get_default_database()
        self._events = self._database.events.count_documents({})
        # Deliveries that were sent, not answered, and not stored yet.
        self._outstanding = 0

    def check(self, *, answered: int, in_flight: int) -> int:
        """Check the state after a run, and return the number of its events.

        Args:
            answered: The number of deliveries of distinct events that were answered with a 2xx.
            in_flight: The maximum number of further deliveries, which may have been processed.

        Raises:
            BooksError: A number is wrong.
        """
        with self._client.start_session(snapshot=True) as session:
            events = self._database.events.count_documents({}, session=session)
            ledger = _sums(self._database.ledger, "$account_uid", session)
            accounts = _sums(self._database.accounts, "$_id", session)
            rows = self._database.ledger.count_documents({}, session=session)
        new, self._events = events - self._events, events
        self._outstanding += answered + in_flight - new
        if new < answered or self._outstanding < 0:
            raise BooksError(f"{answered} deliveries were answered, and {new} events are stored")
        if rows != events:
            raise BooksError(f"{events} events and {rows} ledger rows are stored")
        if ledger != accounts:
            raise BooksError("a balance is not the sum of its ledger")
        if sum(accounts.values()) != events * CREDITS:
            raise BooksError(f"{sum(accounts.values())} credits are stored for {events} events")
        return new


def _sums(collection: Any, key: str, session: Any) -> dict[str, int]:
    """Return the sum of the credits by account."""
    group = {"$group": {"_id": key, "credits": {"$sum": "$credits"}}}
    return {row["_id"]: row["credits"] for row in collection.aggregate([group], session=session)}
