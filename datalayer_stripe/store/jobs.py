"""The work that deferred plugins still have to do: a job is an event and a plugin.

A job is made in the commit that tells the event so, and ends in the commit that holds its
effects. Who runs it has it by a lease, so that one whose process dies is another's in the end.
Two may run one all the same, when a lease was too short: the mark lets one of them commit.
"""

import uuid
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from pymongo import ReturnDocument

from ..errors import AlreadyDone
from ..events import Event
from ..models import Model
from .errors import translated
from .events import DEFERRED, DONE, FAILED, HANDLED, REJECTED, Mark, not_handled, settle, updated


class Job(Model):
    """Work that somebody has taken: `holder` names this one attempt. `attempts` counts it.

    The database holds `event` as JSON text, for the reason that `EventRecord` gives.
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
    """Says that a plugin's work on an event is to be done later, and makes the job."""

    async def apply(self, database: Any, mongo_session: Any) -> None:
        """Raises AlreadyDone where it is done, or deferred, before."""
        name, handler = self.plugin_name, f"handlers.{self.plugin_name}"
        update = updated(self.event, name, DEFERRED, self.at)
        del update["$inc"]  # no attempt yet
        update["$set"] = {handler: {"status": DEFERRED, "at": self.at, "attempts": 0}}
        update["$pull"] = {FAILED: name, REJECTED: name}
        await settle(database, mongo_session, self.event, not_handled(self.event, name), update)
        await database.jobs.insert_one(
            {
                "_id": _job_id(self.event.id, name),
                "plugin": name,
                "event": self.event.model_dump_json(),
                "attempts": 0,
                "deferred_at": self.at,
                "due_at": self.at,
                "until": self.at,
            },
            session=mongo_session,
        )

    async def check(self, database: Any, **options: Any) -> None:
        status = f"handlers.{self.plugin_name}.status"
        in_hand = {"_id": self.event.id, status: {"$in": sorted(HANDLED)}}
        if await database.events.find_one(in_hand, {"_id": 1}, **options) is not None:
            raise AlreadyDone


@dataclass(frozen=True)
class JobDone(Mark):
    """A mark that ends the job, too, whoever has it by now."""

    @property
    def key(self) -> tuple[str, ...]:
        # Not the deferral's, whose commit may be under way still: what is put off is not done.
        return (*super().key, "job")

    async def apply(self, database: Any, mongo_session: Any) -> None:
        await super().apply(database, mongo_session)
        job_id = _job_id(self.event.id, self.plugin_name)
        await database.jobs.delete_one({"_id": job_id}, session=mongo_session)


@dataclass(frozen=True)
class _Ended(Mark):
    """How an attempt ended without success.

    AlreadyDone is raised where another holds the job by now, or has done the work.
    """

    job: Job
    error: str

    @property
    def key(self) -> tuple[str, ...]:
        return (*super().key, self.job.holder)

    @property
    def _held(self) -> dict[str, Any]:
        return {"_id": self.job.id, "holder": self.job.holder}

    async def check(self, database: Any, **options: Any) -> None:
        if await database.jobs.find_one(self._held, {"_id": 1}, **options) is None:
            raise AlreadyDone
        await super().check(database, **options)  # the work may be done, and the job be left over

    async def _tell(self, database: Any, mongo_session: Any, update: dict[str, Any]) -> None:
        handler = f"handlers.{self.plugin_name}"
        update["$set"][f"{handler}.error"] = self.error
        query = {"_id": self.event.id, f"{handler}.status": {"$ne": DONE}}
        await settle(database, mongo_session, self.event, query, update)


@dataclass(frozen=True)
class JobFailed(_Ended):
    """It is to run again at `due_at`."""

    due_at: datetime

    async def apply(self, database: Any, mongo_session: Any) -> None:
        put_off = {"due_at": self.due_at, "until": self.at}
        kept = await database.jobs.update_one(self._held, {"$set": put_off}, session=mongo_session)
        if not kept.matched_count:
            raise AlreadyDone
        update = updated(self.event, self.plugin_name, DEFERRED, self.at)
        update["$addToSet"] = {FAILED: self.plugin_name}
        await self._tell(database, mongo_session, update)


@dataclass(frozen=True)
class JobRejected(_Ended):
    """It is over: the event has the reason, and the payload from which it can be run again."""

    async def apply(self, database: Any, mongo_session: Any) -> None:
        ended = await database.jobs.delete_one(self._held, session=mongo_session)
        if not ended.deleted_count:
            raise AlreadyDone
        update = updated(self.event, self.plugin_name, REJECTED, self.at)
        update["$set"]["payload"] = self.event.model_dump_json()
        update["$addToSet"] = {REJECTED: self.plugin_name}
        update["$pull"] = {FAILED: self.plugin_name}
        await self._tell(database, mongo_session, update)


class Jobs:
    def __init__(self, database: Any) -> None:
        self._jobs = database.jobs

    @translated
    async def plugins(self) -> set[str]:
        """The names of the plugins that have work left, due or not.

        From the index alone, however much is left; to ask for what is due would look at all of it.
        """
        return set(await self._jobs.distinct("plugin"))

    @translated
    async def take(self, plugin_name: str, now: datetime, length: timedelta) -> Job | None:
        """The work of a plugin that has been due for longest; it is the caller's for `length`."""
        found = await self._jobs.find_one_and_update(
            {"plugin": plugin_name, **_free(now)},
            {"$set": {"holder": uuid.uuid4().hex, "until": now + length}, "$inc": {"attempts": 1}},
            sort=[("due_at", 1)],
            return_document=ReturnDocument.AFTER,
        )
        if found is None:
            return None
        event = Event.model_validate_json(found["event"])
        return Job.model_validate({**found, "id": found["_id"], "event": event})

    @translated
    async def make_due_now(self, event_id: str, plugin_name: str, now: datetime) -> None:
        """Let it be due now, with all its attempts before it; one that is being run goes on."""
        await self._jobs.update_one(
            {"_id": _job_id(event_id, plugin_name), "until": {"$lte": now}},
            {"$set": {"due_at": now, "attempts": 0}},
        )

    @translated
    async def forget(self, job: Job) -> None:
        """Drop what a delivery has done meanwhile, in a process whose plugin does not defer it."""
        await self._jobs.delete_one({"_id": job.id})

    @translated
    async def waiting(self) -> int:
        """How many there are, those that are being run among them."""
        return int(await self._jobs.estimated_document_count())


def _free(now: datetime) -> dict[str, Any]:
    return {"due_at": {"$lte": now}, "until": {"$lte": now}}
