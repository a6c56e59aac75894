"""Create the collections and indexes at the start. Several processes may do so at once."""

import logging
import pkgutil
from collections.abc import Sequence
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

from pymongo import IndexModel
from pymongo.errors import CollectionInvalid, OperationFailure

from ..errors import StoreError
from ..settings import variable
from .collection import CollectionSpec

logger = logging.getLogger(__name__)

_NAMESPACE_EXISTS = 48
_INDEX_CONFLICTS = frozenset({85, 86})  # IndexOptionsConflict, IndexKeySpecsConflict


@cache
def declared_collections() -> dict[str, CollectionSpec]:
    """Return the collections that the modules of this package declare, by name."""
    modules = [
        import_module(f"{__package__}.{module.name}")
        for module in pkgutil.iter_modules([str(Path(__file__).parent)])
    ]
    values = [value for module in modules for value in vars(module).values()]
    return {value.name: value for value in values if isinstance(value, CollectionSpec)}


async def create_collections(database: Any, *, expiring: bool = True) -> None:
    """Create the collections and indexes that do not exist yet.

    Collections are created first, because a transaction that creates a collection is slower.

    Args:
        database: The driver's database.
        expiring: Whether to create the indexes that expire old documents.

    Raises:
        StoreError: Another index with the same name or keys exists. The message says what to do.
    """
    existing = set(await database.list_collection_names())
    for name, declared in declared_collections().items():
        if name not in existing:
            await _create_collection(database, name)
        indexes = [index for index in declared.indexes if expiring or not _expires(index)]
        if indexes:
            if name in existing:
                await _log_missing_indexes(database[name], indexes)
            await _create_indexes(database[name], indexes)


async def _log_missing_indexes(collection: Any, indexes: Sequence[IndexModel]) -> None:
    """Log which indexes are about to be built on a collection that may be large."""
    existing = await collection.index_information()
    missing = [name for index in indexes if (name := index.document["name"]) not in existing]
    if missing:
        logger.info(
            "building indexes, which may take a while",
            extra={"collection": collection.name, "indexes": missing},
        )


async def _create_indexes(collection: Any, indexes: Sequence[IndexModel]) -> None:
    try:
        await collection.create_indexes(indexes)
    except OperationFailure as error:
        if error.code not in _INDEX_CONFLICTS:
            raise
        code_name = (error.details or {}).get("codeName", error.code)
        raise StoreError(
            f"{variable('stripe_mongodb_url')}: the collection {collection.name} already has an "
            f"index with other options ({code_name}). Drop that index and start again: the service "
            "creates its own."
        ) from error


def _expires(index: IndexModel) -> bool:
    return "expireAfterSeconds" in index.document


async def _create_collection(database: Any, name: str) -> None:
    try:
        await database.create_collection(name)
    except CollectionInvalid:
        return  # The driver saw that another process has created it.
    except OperationFailure as error:
        if error.code != _NAMESPACE_EXISTS:  # The server saw that another process has created it.
            raise
