"""Jobs of deferred plugins: a job is an event and a plugin.

A job is inserted in the commit that marks the event as deferred, and deleted in the commit of the
plugin's writes. A worker holds a lease on the job that it runs, so that another worker takes the
job of a process that has crashed. If a lease expires too early, two workers run the job, but the
mark lets only one of them commit.
"""

import uuid
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Any

from pymongo import ASCENDING, IndexModel, ReturnDocument
from pymongo.errors import PyMongoError

from ..events import Event
from ..models import Model
from .collection import CollectionSpec
from .driver import aggregate
from .errors import translate_errors


class Job(Model):
    """Job that a worker has leased.

    `holder` is the id of this attempt, which `attempts` includes. The database stores `event` as
    JSON text, for the same reason as `EventRecord`.
    """

    id: str
    plugin: str
    event: Event
    attempts: int
    holder: str
    traceparent: str | None = None


def job_id(event_id: str, plugin_name: str) -> str:
    """Return the id of the job of a plugin on an event."""
    return f"{event_id}:{plugin_name}"


# How many jobs are read to find the oldest one.
MAX_JOBS_READ = 1000

JOBS = CollectionSpec(
    "jobs",
    [
        IndexModel([("plugin", ASCENDING), ("due_at", ASCENDING)]),
        IndexModel([("object_id", ASCENDING), ("plugin", ASCENDING)]),
    ],
)


class Jobs:
    """Collection `jobs`."""

    def __init__(self, database: Any) -> None:
        self._jobs = database.jobs

    @translate_errors
    async def plugins(self) -> set[str]:
        """Return the names of the plugins that have jobs, due or not.

        The database reads an index only. A query for due jobs would read all of them.
        """
        return set(await self._jobs.distinct("plugin"))

    @translate_errors
    async def take(self, plugin_name: str, now: datetime, duration: timedelta) -> Job | None:
        """Lease the job of a plugin that has been due for the longest time.

        Args:
            plugin_name: The plugin.
            now: The present time.
            duration: How long the lease lasts.

        Returns:
            The job, or None if no job is due and free.
        """
        is_free = {"plugin": plugin_name, "due_at": {"$lte": now}, "until": {"$lte": now}}
        return await self._take(is_free, now, duration)

    @translate_errors
    async def take_more(
        self, job: Job, now: datetime, duration: timedelta, *, limit: int
    ) -> list[Job]:
        """Lease further jobs of the same plugin and event type that are about the same object.

        A job that may run early and has not failed is taken before it is due. If the database does
        not answer meanwhile, the jobs that are leased by then are returned.

        Args:
            job: The job that was leased first.
            now: The present time.
            duration: How long the leases last.
            limit: The maximum number of further jobs.
        """
        more: list[Job] = []
        if job.event.object_id is None:
            return more
        same = {
            "object_id": job.event.object_id,
            "plugin": job.plugin,
            "type": job.event.type,
            "until": {"$lte": now},
            "$or": [{"due_at": {"$lte": now}}, {"attempts": 0, "may_run_early": True}],
        }
        with suppress(PyMongoError):
            while len(more) < limit and (found := await self._take(same, now, duration)):
                more.append(found)
        return more

    async def _take(self, query: dict[str, Any], now: datetime, duration: timedelta) -> Job | None:
        """Lease the first job that matches, in the order in which jobs are due."""
        found = await self._jobs.find_one_and_update(
            query,
            {
                "$set": {"holder": uuid.uuid4().hex, "until": now + duration},
                "$inc": {"attempts": 1},
            },
            sort=[("due_at", 1)],
            return_document=ReturnDocument.AFTER,
        )
        if found is None:
            return None
        event = Event.model_validate_json(found["event"])
        return Job.model_validate({**found, "id": found["_id"], "event": event})

    @translate_errors
    async def make_due_now(self, event_id: str, plugin_name: str, now: datetime) -> None:
        """Make a job due now, with all its attempts again. A running job is not changed.

        Args:
            event_id: The event.
            plugin_name: The plugin.
            now: The present time.
        """
        await self._jobs.update_one(
            {"_id": job_id(event_id, plugin_name), "until": {"$lte": now}},
            {"$set": {"due_at": now, "attempts": 0}},
        )

    @translate_errors
    async def postpone(
        self, job: Job, now: datetime, due_at: datetime, *, may_run_early: bool
    ) -> bool:
        """Run a leased job again later, as if this attempt had not been made.

        Args:
            job: The job.
            now: The present time.
            due_at: When it is due again.
            may_run_early: As for :class:`Deferral`.

        Returns:
            False if another worker holds the job by now.
        """
        postponed = await self._jobs.update_one(
            {"_id": job.id, "holder": job.holder},
            {
                "$set": {"due_at": due_at, "until": now, "may_run_early": may_run_early},
                "$inc": {"attempts": -1},
            },
        )
        return bool(postponed.matched_count)

    @translate_errors
    async def delete(self, job: Job) -> None:
        """Delete a job whose work a delivery has done without deferring it."""
        await self._jobs.delete_one({"_id": job.id})

    @translate_errors
    async def overdue(self, before: datetime) -> dict[str, int]:
        """Return how many jobs of each plugin were due before a time, without other plugins.

        Args:
            before: The time.
        """
        numbers = {
            name: await self._jobs.count_documents({"plugin": name, "due_at": {"$lt": before}})
            for name in await self._jobs.distinct("plugin")
        }
        return {name: number for name, number in numbers.items() if number}

    @translate_errors
    async def oldest(self) -> datetime | None:
        """Return when the oldest job was deferred, or None if there is none.

        The database reads up to MAX_JOBS_READ jobs, in the order in which they were inserted.
        """
        found = await aggregate(
            self._jobs,
            [
                {"$limit": MAX_JOBS_READ},
                {"$group": {"_id": None, "oldest": {"$min": "$deferred_at"}}},
            ],
        )
        return found[0]["oldest"] if found else None

    @translate_errors
    async def count(self) -> int:
        """Return the number of jobs, including those that are running."""
        return int(await self._jobs.estimated_document_count())
