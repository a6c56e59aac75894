"""Every single cut of what a deferred plugin needs: its effect is there once, and none is lost."""

from typing import Any

import pytest

from datalayer_stripe import Context, Event, Plugin
from datalayer_stripe.plugin_api.registry import Registry
from datalayer_stripe.store.jobs import JobDone
from tests.faults import laws, report, stories
from tests.faults.environment import Stage
from tests.faults.injection import CUTS, Cut, Kind, When
from tests.faults.world import LawBroken, World

pytestmark = pytest.mark.mongod

TYPE = "payment_intent.succeeded"


def counter() -> Plugin:
    plugin = Plugin("counter")

    @plugin.on(TYPE, deferred=True)
    async def count(event: Event, ctx: Context) -> None:
        await ctx.collection.find_one({"_id": "nothing"})  # so that the run itself can be cut
        ctx.collection.update_one({"_id": event.id}, {"$inc": {"n": 1}}, upsert=True)

    return plugin


async def open_world(stage: Stage) -> World:
    """A world whose processes have the deferred counter."""
    world = await World.open(stage, witness=False)
    world.registry = Registry((*world.registry.plugins, counter()))
    for number, process in enumerate(world.processes):
        await process.stop()
        world.processes[number] = await world.start_process()
    return world


async def work(world: World, on: int) -> None:
    """Let a process run what is due; it may be cut."""
    process = world.processes[on]
    run = await process.do(process.service.worker.run_due())
    if not run.cancelled() and (error := run.exception()) is not None:
        assert type(error).__name__ == "StoreUnavailable", error
    await world.settle()


async def finish(world: World) -> None:
    """Deliver all, and run all that is deferred, without any cut; then check it."""
    world.faults.disarm()
    await world.deliver_waiting()
    for _ in range(4):
        world.tick(seconds=2 * 3600)
        for number in range(len(world.processes)):
            await work(world, number)
    await laws.books_balance(world)
    database = world.stage.database
    stored = await database.events.find({"type": TYPE}).to_list(None)
    counted = {row["_id"]: row["n"] async for row in database["plugin_counter"].find()}
    if counted != {row["_id"]: 1 for row in stored}:
        raise LawBroken(f"exactly once: {counted} of {len(stored)}")
    if await database.jobs.count_documents({}):
        raise LawBroken("no loss: a job is left")
    for row in stored:
        laws._is_done(row, {"top-up-credits", "counter"})


async def every_cut(world: World, *, of_delivery: bool, kind: Kind) -> int:
    """Cut each call in turn, before and after; how many that were."""
    cuts = 0
    whens: tuple[When, ...] = ("before", "after")
    for when in whens:
        call, struck = 1, True
        while struck:
            struck = await one_cut(world, Cut(call, when, kind), of_delivery=of_delivery)
            call += 1
        cuts += call - 2
    return cuts


async def one_cut(world: World, cut: Cut, *, of_delivery: bool) -> bool:
    """Whether there were as many calls."""
    event: dict[str, Any] = stories.a_payment(world)
    before = world.faults.struck.total()
    try:
        if of_delivery:
            world.faults.arm(cut)
            await world.deliver(event)
            await world.settle()
        else:
            await world.deliver(event)
            world.faults.arm(cut)
            await work(world, 0)
        await finish(world)
    except LawBroken as broken:
        broken.add_note(f"after {cut}, which struck {world.faults.calls[-24:]}")
        raise
    return world.faults.struck.total() > before


@pytest.mark.parametrize("kind", CUTS)
@pytest.mark.parametrize("of_delivery", [True, False], ids=["delivery", "job"])
def test_no_cut_loses_or_doubles_deferred_work(stage: Stage, of_delivery: bool, kind: Kind) -> None:
    async def tell() -> None:
        world = await open_world(stage)
        try:
            cuts = await every_cut(world, of_delivery=of_delivery, kind=kind)
            assert cuts > 8
            report.count("deferred work", cuts=cuts)
        finally:
            await world.close()

    stage.run(tell())


async def _without_the_job(self: JobDone, database: Any, mongo_session: Any) -> None:
    """The mark alone, outside of the transaction."""
    await super(JobDone, self).apply(database, None)
    await database.jobs.delete_one({"_id": f"{self.event.id}:{self.plugin_name}"})


def test_without_one_transaction_a_cut_is_noticed(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(JobDone, "apply", _without_the_job)

    async def tell() -> None:
        world = await open_world(stage)
        try:
            await every_cut(world, of_delivery=False, kind=Kind.CRASH)
        finally:
            await world.close()

    with pytest.raises(LawBroken, match=r"^exactly once:"):
        stage.run(tell())
