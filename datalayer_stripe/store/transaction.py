"""Write in one transaction, with majority write concern."""

from typing import Any

from pymongo import WriteConcern
from pymongo.errors import PyMongoError
from pymongo.read_concern import ReadConcern

from .driver import DatabaseCalls, abort_transaction, commit_transaction, start_transaction

_UNKNOWN = "UnknownTransactionCommitResult"


async def transact(write: DatabaseCalls, database: Any, mongo_session: Any) -> None:
    """Write in a transaction and commit it, or abort it on an error."""
    await start_transaction(
        mongo_session,
        read_concern=ReadConcern("snapshot"),
        write_concern=WriteConcern("majority"),
    )
    try:
        await write(database, mongo_session)
    except BaseException:
        await abort_transaction(mongo_session)
        raise
    await _finish(mongo_session)


async def _finish(mongo_session: Any) -> None:
    """Commit the transaction. If the outcome is unknown, commit again, which is safe."""
    try:
        await commit_transaction(mongo_session)
    except PyMongoError as error:
        if not error.has_error_label(_UNKNOWN):
            raise
        await commit_transaction(mongo_session)
