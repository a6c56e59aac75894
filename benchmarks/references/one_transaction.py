"""A Tornado handler that commits each delivery in a transaction of its own."""

from functools import partial
from typing import Any

from pymongo import WriteConcern
from pymongo.errors import DuplicateKeyError
from pymongo.read_concern import ReadConcern

from benchmarks.references.common import Delivery, SignedHandler, open_client, read_delivery, serve


class OneTransaction(SignedHandler):
    async def post(self) -> None:
        delivery = read_delivery(self.request.body)
        client = self.settings["client"]
        try:
            async with await client.start_session() as session:
                await session.with_transaction(
                    partial(_write, client.get_default_database(), delivery),
                    read_concern=ReadConcern("snapshot"),
                    write_concern=WriteConcern("majority"),
                )
        except DuplicateKeyError:
            self.write({"outcome": "duplicate"})
        else:
            self.write({"outcome": "processed"})


async def _write(database: Any, delivery: Delivery, session: Any) -> None:
    await database.events.update_one(
        delivery.event_query, delivery.event_update, upsert=True, session=session
    )
    inserted = await database.ledger.update_one(
        {"_id": delivery.row_id}, delivery.row_update, upsert=True, session=session
    )
    if inserted.upserted_id is not None:
        await database.accounts.update_one(
            {"_id": delivery.account_uid},
            {"$inc": {"credits": delivery.credits}, "$set": {"updated_at": delivery.at}},
            upsert=True,
            session=session,
        )


if __name__ == "__main__":
    serve(OneTransaction, client=open_client)
