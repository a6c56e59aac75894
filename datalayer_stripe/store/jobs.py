"""Jobs of deferred plugins: a job is an event and a plugin.

A job is inserted in the commit that marks the event as deferred, and deleted in the commit of the
plugin's writes. A worker holds a lease on the job that it runs, so that another worker takes the
job of a process that has crashed. If a lease expires too early, two workers run the job, but the
mark lets only one of them commit.
"""

import uuid
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, ClassVar

from pymongo import ASCENDING, IndexModel, ReturnDocument
from pymongo.errors import PyMongoError

from ..errors import AlreadyDone
from ..events import Event
from ..models import Model
from .bulk_writes import BulkWrites
from .collection import CollectionSpec
from .errors import translate_errors
from .event_records import DEFERRED, DONE, FAILED, HANDLED, REJECTED
from .events import Mark, add_upsert, new_document, not_handled, run_update, upsert_event
from .unit_of_work import Document


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


def _job_id(event_id: str, plugin_name: str) -> str:
    return f"{event_id}:{plugin_name}"


@dataclass(frozen=True)
class Deferral(Mark):
    """Records that a plugin's work on an event is deferred, and inserts the job."""

    _final_statuses: ClassVar[frozenset[str]] = HANDLED

    delay: timedelta = field(default=timedelta(), kw_only=True)
    """How long after the deferral the job is due."""
    may_run_early: bool = field(default=False, kw_only=True)
    """Whether the job may run before it is due, together with others of the same object."""

    async def apply(self, database: Any, mongo_session: Any) -> None:
        """Mark the event as deferred and insert the job.

        Args:
            database: The driver's database.
            mongo_session: The session of the transaction; None on `memory://`.

        Raises:
            AlreadyDone: The work is already done or deferred.
        """
        await upsert_event(database, mongo_session, self.event, *self._update())
        await database.jobs.insert_one(self._job(), session=mongo_session)

    def add_to(self, bulk: BulkWrites) -> None:
        if self.is_new_event:
            bulk.insert("events", new_document(self.event, self.plugin_name, self._run()))
        else:
            add_upsert(bulk, self.event, *self._update())
        bulk.insert("jobs", self._job())

    def _run(self) -> dict[str, Any]:
        return {"status": DEFERRED, "at": self.at, "attempts": 0}  # A deferral is not an attempt.

    def _update(self) -> tuple[Document, Document]:
        name = self.plugin_name
        update = run_update(self.event, name, DEFERRED, self.at)
        del update["$inc"]
        update["$set"] = {f"handlers.{name}": self._run()}
        update["$pull"] = {FAILED: name, REJECTED: name}
        return not_handled(self.event, name), update

    def _job(self) -> dict[str, Any]:
        return {
            "_id": _job_id(self.event.id, self.plugin_name),
            "plugin": self.plugin_name,
            "object_id": self.event.object_id,
            "type": self.event.type,
            "may_run_early": self.may_run_early,
            "event": self.event.model_dump_json(),
            "attempts": 0,
            "deferred_at": self.at,
            "due_at": self.at + self.delay,
            "until": self.at,
        }


@dataclass(frozen=True)
class JobDone(Mark):
    """Mark that also deletes the job, even if another worker has leased it since."""

    @property
    def key(self) -> tuple[str, ...]:
        # It differs from the deferral's key: the deferral may still be committing, and its commit
        # does not mean that the work is done.
        return (*super().key, "job")

    async def apply(self, database: Any, mongo_session: Any) -> None:
        await super().apply(database, mongo_session)
        await database.jobs.delete_one(self._job_query, session=mongo_session)

    def add_to(self, bulk: BulkWrites) -> None:
        super().add_to(bulk)
        bulk.delete("jobs", self._job_query)

    @property
    def _job_query(self) -> Document:
        return {"_id": _job_id(self.event.id, self.plugin_name)}


@dataclass(frozen=True)
class _UnsuccessfulAttempt(Mark):
    """Attempt that ended without success.

    Its commit raises AlreadyDone if another worker has leased the job or done the work.
    """

    has_bulk_form: ClassVar[bool] = False

    job: Job
    error: str

    @property
    def key(self) -> tuple[str, ...]:
        return (*super().key, self.job.holder)

    @property
    def _query(self) -> dict[str, Any]:
        return {"_id": self.job.id, "holder": self.job.holder}

    async def check(self, database: Any, **options: Any) -> None:
        if await database.jobs.find_one(self._query, {"_id": 1}, **options) is None:
            raise AlreadyDone
        await super().check(database, **options)  # The work may be done while the job still exists.

    async def _update_event(
        self, database: Any, mongo_session: Any, update: dict[str, Any]
    ) -> None:
        handler = f"handlers.{self.plugin_name}"
        update["$set"][f"{handler}.error"] = self.error
        query = {"_id": self.event.id, f"{handler}.status": {"$ne": DONE}}
        await upsert_event(database, mongo_session, self.event, query, update)


@dataclass(frozen=True)
class JobFailed(_UnsuccessfulAttempt):
    """Failed attempt. The job is retried at `due_at`."""

    due_at: datetime

    async def apply(self, database: Any, mongo_session: Any) -> None:
        postponed = {"due_at": self.due_at, "until": self.at}
        updated = await database.jobs.update_one(
            self._query, {"$set": postponed}, session=mongo_session
        )
        if not updated.matched_count:
            raise AlreadyDone
        update = run_update(self.event, self.plugin_name, DEFERRED, self.at)
        update["$addToSet"] = {FAILED: self.plugin_name}
        await self._update_event(database, mongo_session, update)


@dataclass(frozen=True)
class JobRejected(_UnsuccessfulAttempt):
    """Rejected attempt. The job is deleted; the event stores the reason and the payload."""

    async def apply(self, database: Any, mongo_session: Any) -> None:
        ended = await database.jobs.delete_one(self._query, session=mongo_session)
        if not ended.deleted_count:
            raise AlreadyDone
        update = run_update(self.event, self.plugin_name, REJECTED, self.at)
        update["$set"]["payload"] = self.event.model_dump_json()
        update["$addToSet"] = {REJECTED: self.plugin_name}
        update["$pull"] = {FAILED: self.plugin_name}
        await self._update_event(database, mongo_session, update)


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
        return await self._take({"plugin": plugin_name, **_free(now)}, now, duration)

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
            {"_id": _job_id(event_id, plugin_name), "until": {"$lte": now}},
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
    async def count(self) -> int:
        """Return the number of jobs, including those that are running."""
        return int(await self._jobs.estimated_document_count())


def _free(now: datetime) -> dict[str, Any]:
    return {"due_at": {"$lte": now}, "until": {"$lte": now}}
