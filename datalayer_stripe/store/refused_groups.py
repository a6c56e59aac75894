"""Find out which units of a group made the database refuse the group's bulk writes."""

import asyncio
from collections.abc import Sequence
from typing import Any, NamedTuple

from .commit import Work
from .ledger import Credit


class Finding(NamedTuple):
    """What the database has of a unit's documents."""

    is_done: bool
    """The mark is set. It is durable, because a majority of the replica set has it."""
    is_known_event: bool
    """The event has a document."""
    is_unusual: bool
    """A ledger row exists, or an account has a debt: the unit has to be written by itself."""


async def examine(database: Any, works: Sequence[Work]) -> list[Finding]:
    """Read the documents that the units assume not to exist, with one query per collection.

    Args:
        database: The driver's database, which reads what a majority has.
        works: The works of the group.

    Returns:
        A finding for each work, in the same order.
    """
    entries = [
        [one.entry for one in work.unit.operations if isinstance(one, Credit)] for work in works
    ]
    flat = [entry for those in entries for entry in those]
    events, rows, debtors = await asyncio.gather(
        _find(database.events, [work.mark.key[0] for work in works], {"handlers": 1}),
        _find(database.ledger, [entry.id for entry in flat], {"_id": 1}),
        _find(
            database.accounts, [entry.account_uid for entry in flat], {"_id": 1}, debt={"$gt": 0}
        ),
    )
    return [
        Finding(
            is_done=work.mark.is_set(events.get(work.mark.key[0])),
            is_known_event=work.mark.key[0] in events,
            is_unusual=any(one.id in rows or one.account_uid in debtors for one in those),
        )
        for work, those in zip(works, entries, strict=True)
    ]


async def _find(
    collection: Any, ids: Sequence[str], projection: dict[str, int], **conditions: Any
) -> dict[str, dict[str, Any]]:
    """Return the documents with these ids that meet the conditions, by id."""
    if not ids:
        return {}
    query = {"_id": {"$in": list(dict.fromkeys(ids))}, **conditions}
    return {row["_id"]: row for row in await collection.find(query, projection).to_list(None)}
