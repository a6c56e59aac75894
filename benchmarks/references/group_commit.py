"""A Tornado handler that commits concurrent deliveries in one transaction with bulk writes."""

import asyncio
from collections import Counter
from typing import Any

from pymongo import UpdateOne, WriteConcern
from pymongo.errors import BulkWriteError, OperationFailure
from pymongo.read_concern import ReadConcern

from benchmarks.references.common import Delivery, SignedHandler, open_client, read_delivery, serve

_MAX_GROUP_SIZE = 64


class GroupCommit(SignedHandler):
    async def post(self) -> None:
        self.write({"outcome": await self.settings["groups"].commit(self.request.body)})


class Groups:
    """Commits the deliveries that arrive during a commit together after it."""

    def __init__(self, client: Any) -> None:
        self._client = client
        self._database = client.get_default_database()
        self._waiting: list[tuple[Delivery, asyncio.Future[str]]] = []
        self._task: asyncio.Task[None] | None = None

    async def commit(self, body: bytes) -> str:
        """Commit a delivery, and return its outcome."""
        outcome: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._waiting.append((read_delivery(body), outcome))
        if self._task is None:
            self._task = asyncio.create_task(self._drain())
        return await outcome

    async def _drain(self) -> None:
        while self._waiting:
            group = self._waiting[:_MAX_GROUP_SIZE]
            del self._waiting[:_MAX_GROUP_SIZE]
            await self._commit_group(group)
        self._task = None

    async def _commit_group(self, group: list[tuple[Delivery, "asyncio.Future[str]"]]) -> None:
        try:
            await self._write([delivery for delivery, _ in group])
        except BulkWriteError as error:
            if len(group) > 1:
                for one in group:
                    await self._commit_group([one])
            elif error.details["writeErrors"][0]["code"] == 11000:
                group[0][1].set_result("duplicate")
            else:
                group[0][1].set_exception(error)
        except OperationFailure as error:
            for _, outcome in group:
                outcome.set_exception(error)
        else:
            for _, outcome in group:
                outcome.set_result("processed")

    async def _write(self, deliveries: list[Delivery]) -> None:
        database, credits = self._database, Counter[str]()
        for one in deliveries:
            credits[one.account_uid] += one.credits
        at = deliveries[-1].at
        async with (
            await self._client.start_session() as session,
            session.start_transaction(
                read_concern=ReadConcern("snapshot"), write_concern=WriteConcern("majority")
            ),
        ):
            await database.events.bulk_write(
                [UpdateOne(one.event_query, one.event_update, upsert=True) for one in deliveries],
                ordered=False,
                session=session,
            )
            await database.ledger.insert_many(
                [{"_id": one.row_id, **one.row} for one in deliveries],
                ordered=False,
                session=session,
            )
            await database.accounts.bulk_write(
                [
                    UpdateOne(
                        {"_id": uid},
                        {"$inc": {"credits": number}, "$set": {"updated_at": at}},
                        upsert=True,
                    )
                    for uid, number in credits.items()
                ],
                ordered=False,
                session=session,
            )


if __name__ == "__main__":
    serve(GroupCommit, groups=lambda: Groups(open_client()))
