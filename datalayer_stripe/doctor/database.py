"""Checks of the database."""

from collections.abc import Sequence

from ..errors import CannotCheck, StoreUnavailable
from ..settings import variable
from .checks import Subject
from .context import CheckContext

SUBJECT = Subject("database")

MAJORITY_SECONDS = 5.0
"""How long the check waits until a majority has confirmed a write."""

MIN_FREE_DISK = 0.1
"""A smaller free part of the database's disk is reported."""

MIN_OPLOG_HOURS = 24.0
"""A full oplog that goes back less is reported."""


@SUBJECT.error(
    "connection",
    "The database can be used in this mode.",
    advice=f"Do what the line says, and check {variable('stripe_mongodb_url')}.",
)
async def connection(context: CheckContext) -> Sequence[str]:
    if context.store_error is not None:
        return [context.store_error]
    await context.store.ping()
    return []


@SUBJECT.error(
    "majority",
    "A majority of the members confirms writes.",
    advice="Start the members that are down, or check their replication with rs.status() in "
    "mongosh. Until then deliveries are answered 503, and Stripe retries them.",
)
async def majority(context: CheckContext) -> Sequence[str]:
    try:
        await context.server.write_durably(seconds=MAJORITY_SECONDS)
    except StoreUnavailable:
        return [f"No majority of the replica set confirms a write within {MAJORITY_SECONDS:g} s."]
    return []


@SUBJECT.warning(
    "members",
    "The set may lose a member in live mode.",
    advice="Run at least three members that hold data, or use a hosted cluster.",
)
async def members(context: CheckContext) -> Sequence[str]:
    number = await context.server.inspection.data_members()
    if number is None:
        raise CannotCheck("the database is a sharded cluster")
    if not context.settings.livemode or number >= 3:
        return []
    if number == 1:
        return ["The replica set has one member: nothing survives the loss of its disk."]
    return ["The replica set has two members with data: without one, it confirms no writes."]


@SUBJECT.error(
    "indexes",
    "All indexes exist.",
    advice="Start `datalayer-stripe serve`: it creates missing indexes. If it reports an index "
    "with other options, drop that index first.",
)
async def indexes(context: CheckContext) -> Sequence[str]:
    missing = await context.server.inspection.missing_indexes()
    if missing is None:
        raise CannotCheck("the database is empty; `serve` creates collections and indexes")
    return [f"The index {index} is missing." for index in missing]


@SUBJECT.warning(
    "disk",
    "The database's disk has free space.",
    advice="Enlarge the disk of the database, or delete what else is on it. MongoDB stops when "
    "its disk is full.",
)
async def disk(context: CheckContext) -> Sequence[str]:
    use = await context.server.inspection.disk()
    if use is None:
        raise CannotCheck("the database does not say how full its disk is")
    if use.free_part >= MIN_FREE_DISK:
        return []
    free = use.free_bytes / 2**30
    return [f"Only {free:,.1f} GiB of the database's disk are free, {use.free_part:.0%}."]


@SUBJECT.warning(
    "oplog",
    f"The oplog covers {MIN_OPLOG_HOURS:g} hours, or is not full.",
    advice="Enlarge it in mongosh on each member: "
    "db.adminCommand({replSetResizeOplog: 1, size: Double(16384)}). A member that is down for "
    "longer than the oplog goes back must be copied anew.",
)
async def oplog(context: CheckContext) -> Sequence[str]:
    window = await context.server.inspection.oplog()
    if window is None:
        raise CannotCheck("the database's user may not read the database `local`")
    if not window.is_full or window.hours >= MIN_OPLOG_HOURS:
        return []
    return [f"The oplog is full and goes back {window.hours:.1f} hours only."]
