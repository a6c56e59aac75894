"""With a fault of each call of a deferred plugin, its effect is there exactly once."""

from typing import Any

import pytest

from datalayer_stripe import Context, Event, Plugin
from datalayer_stripe.plugin_api.registry import Registry
from datalayer_stripe.store.job_marks import JobDone
from datalayer_stripe.testing.faults import INTERRUPTING_KINDS, WHENS, Fault, FaultKind
from tests.faults import laws, report, stories
from tests.faults.runner import SimulationRunner
from tests.faults.simulation import LawViolation, Simulation

pytestmark = pytest.mark.mongod

TYPE = "payment_intent.succeeded"


def counter() -> Plugin:
    plugin = Plugin("counter")

    @plugin.on(TYPE, deferred=True)
    async def count(event: Event, ctx: Context) -> None:
        await ctx.collection.find_one({"_id": "nothing"})  # a call of the run, which can fail
        ctx.collection.update_one({"_id": event.id}, {"$inc": {"n": 1}}, upsert=True)

    return plugin


async def open_simulation(runner: SimulationRunner) -> Simulation:
    """Open a simulation whose processes have the deferred counter."""
    simulation = await Simulation.open(runner, counting=False)
    simulation.registry = Registry((*simulation.registry.plugins, counter()))
    for number, process in enumerate(simulation.processes):
        await process.stop()
        simulation.processes[number] = await simulation.start_process()
    return simulation


async def run_due_jobs(simulation: Simulation, on: int) -> None:
    """Run the due jobs in a process. It may be interrupted."""
    process = simulation.processes[on]
    run = await process.run(process.service.worker.run_due())
    if not run.cancelled() and (error := run.exception()) is not None:
        assert type(error).__name__ == "StoreUnavailable", error
    await simulation.settle()


async def finish(simulation: Simulation) -> None:
    """Deliver all events and run all jobs, without faults; then check the result."""
    simulation.injector.clear()
    await simulation.deliver_waiting()
    for _ in range(4):
        simulation.tick(seconds=2 * 3600)
        for number in range(len(simulation.processes)):
            await run_due_jobs(simulation, number)
    await laws.check_balances(simulation)
    database = simulation.runner.database
    stored = await database.events.find({"type": TYPE}).to_list(None)
    counted = {row["_id"]: row["n"] async for row in database["plugin_counter"].find()}
    if counted != {row["_id"]: 1 for row in stored}:
        raise LawViolation(f"exactly once: {counted} of {len(stored)}")
    if await database.jobs.count_documents({}):
        raise LawViolation("no loss: a job was not finished")
    for row in stored:
        laws.check_event_is_done(row, {"top-up-credits", "counter"})


async def every_fault(simulation: Simulation, *, of_delivery: bool, kind: FaultKind) -> int:
    """Inject a fault into each call in turn, before and after; return the number of faults."""
    faults = 0
    for when in WHENS:
        call, was_injected = 1, True
        while was_injected:
            fault = Fault(call, when, kind)
            was_injected = await one_fault(simulation, fault, of_delivery=of_delivery)
            call += 1
        faults += call - 2
    return faults


async def one_fault(simulation: Simulation, fault: Fault, *, of_delivery: bool) -> bool:
    """Return whether there were enough calls for the fault."""
    event: dict[str, Any] = stories.pay(simulation)
    before = simulation.injector.injected.total()
    try:
        if of_delivery:
            simulation.injector.schedule(fault)
            await simulation.deliver(event)
            await simulation.settle()
        else:
            await simulation.deliver(event)
            simulation.injector.schedule(fault)
            await run_due_jobs(simulation, 0)
        await finish(simulation)
    except LawViolation as violation:
        violation.add_note(f"after {fault}; the last calls were {simulation.injector.calls[-24:]}")
        raise
    return simulation.injector.injected.total() > before


# `make test-faults` tries the other kinds.
@pytest.mark.parametrize(
    "kind",
    [
        pytest.param(kind, marks=() if kind is FaultKind.CRASH else pytest.mark.faults)
        for kind in INTERRUPTING_KINDS
    ],
)
@pytest.mark.parametrize("of_delivery", [True, False], ids=["delivery", "job"])
def test_fault_of_any_call_neither_loses_nor_doubles_a_job(
    runner: SimulationRunner, of_delivery: bool, kind: FaultKind
) -> None:
    async def run() -> None:
        simulation = await open_simulation(runner)
        try:
            faults = await every_fault(simulation, of_delivery=of_delivery, kind=kind)
            assert faults > 8
            report.count("deferred work", faults=faults)
        finally:
            await simulation.close()

    runner.run(run())


async def _without_the_job(self: JobDone, database: Any, mongo_session: Any) -> None:
    """Write the mark and delete the job outside of the transaction."""
    await super(JobDone, self).apply(database, None)
    await database.jobs.delete_one({"_id": f"{self.event.id}:{self.plugin_name}"})


def test_law_is_violated_without_one_transaction(
    runner: SimulationRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(JobDone, "apply", _without_the_job)

    async def run() -> None:
        simulation = await open_simulation(runner)
        try:
            await every_fault(simulation, of_delivery=False, kind=FaultKind.CRASH)
        finally:
            await simulation.close()

    with pytest.raises(LawViolation, match=r"^exactly once:"):
        runner.run(run())
