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
    """Read the documents that the units assume not to exist, with one query for each collection.

    Args:
        database: The driver's database, which reads what a majority has.
        works: The works of the group.

    Returns:
        A finding for each work, in the same order.
    """
    events = await _find(database.events, [work.mark.key[0] for work in works], {"handlers": 1})
    are_done = [work.mark.is_set(events.get(work.mark.key[0])) for work in works]
    entries = [
        [] if is_done else [one.entry for one in work.unit.operations if isinstance(one, Credit)]
        for work, is_done in zip(works, are_done, strict=True)
    ]
    flat = [entry for those in entries for entry in those]
    account_uids = [entry.account_uid for entry in flat]
    rows, debtors = await asyncio.gather(
        _find(database.ledger, [entry.id for entry in flat], {"_id": 1}),
        _find(database.accounts, account_uids, {"_id": 1}, debt={"$gt": 0}),
    )
    return [
        Finding(
            is_done=is_done,
            is_known_event=work.mark.key[0] in events,
            is_unusual=any(one.id in rows or one.account_uid in debtors for one in those),
        )
        for work, is_done, those in zip(works, are_done, entries, strict=True)
    ]


async def _find(
    collection: Any, ids: Sequence[str], projection: dict[str, int], **conditions: Any
) -> dict[str, dict[str, Any]]:
    """Return the documents with these ids that meet the conditions, by id."""
    if not ids:
        return {}
    query = {"_id": {"$in": list(dict.fromkeys(ids))}, **conditions}
    return {row["_id"]: row for row in await collection.find(query, projection).to_list(None)}
