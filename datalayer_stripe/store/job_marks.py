"""The marks of deferred work: it is deferred, done, or an attempt has failed."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, ClassVar

from ..errors import AlreadyDone
from .bulk_writes import BulkWrites
from .event_records import DEFERRED, DONE, FAILED, HANDLED, REJECTED
from .event_writes import add_upsert, new_document, not_handled, run_update, upsert_event
from .jobs import Job, job_id
from .marks import Mark
from .unit_of_work import Document


@dataclass(frozen=True)
class Deferral(Mark):
    """Records that a plugin's work on an event is deferred, and inserts the job."""

    _final_statuses: ClassVar[frozenset[str]] = HANDLED

    delay: timedelta = field(default=timedelta(), kw_only=True)
    """How long after the deferral the job is due."""
    may_run_early: bool = field(default=False, kw_only=True)
    """Whether the job may run before it is due, together with others of the same object."""
    traceparent: str | None = field(default=None, kw_only=True)
    """The span in which the work was deferred, which the spans of the job link to."""

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
        job = {
            "_id": job_id(self.event.id, self.plugin_name),
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
        return {**job, "traceparent": self.traceparent} if self.traceparent else job


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
        return {"_id": job_id(self.event.id, self.plugin_name)}


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
