"""The commands of bulk writes, without a database."""

from collections.abc import Mapping
from typing import Any

import pytest

from datalayer_stripe.store.bulk_writes import BulkWrites


class Recorder:
    """A database that records its commands."""

    def __init__(self) -> None:
        self.commands: list[tuple[str, Any]] = []

    async def command(self, command: Mapping[str, Any], *, session: Any) -> dict[str, Any]:
        self.commands.append(next(iter(command.items())))
        return {}


@pytest.mark.gen_test
async def test_job_that_is_inserted_and_deleted_in_one_group_is_deleted_last() -> None:
    bulk, database = BulkWrites(), Recorder()
    bulk.delete("jobs", {"_id": "a"})
    bulk.update("events", {"_id": "a"}, {"$set": {"n": 1}})
    bulk.insert("jobs", {"_id": "a"})
    bulk.insert("events", {"_id": "a"})
    await bulk.apply(database, None)
    assert database.commands == [
        ("insert", "jobs"),
        ("insert", "events"),
        ("update", "events"),
        ("delete", "jobs"),
    ]
