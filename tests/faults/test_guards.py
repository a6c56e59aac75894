"""Without any of the guards, a story violates a law.

This shows that the stories can fail, and that each guard is needed. The report lists which story
fails without which guard.
"""

import uuid
from collections.abc import Awaitable, Callable
from dataclasses import replace
from functools import partial
from itertools import count
from typing import Any

import pytest
from hypothesis import settings
from hypothesis.stateful import run_state_machine_as_test

from datalayer_stripe.billing.subscriptions import Subscriptions
from datalayer_stripe.plugin_api.context import ContextFactory
from datalayer_stripe.plugin_api.recorders import SnapshotRecorder
from datalayer_stripe.store import group_commit, marks
from datalayer_stripe.store.bulk_writes import BulkWrites
from datalayer_stripe.store.commit import Transactions
from datalayer_stripe.store.ledger import Credit
from datalayer_stripe.store.marks import Mark
from datalayer_stripe.store.refused_groups import Finding
from datalayer_stripe.store.reversals import WriteReversals
from datalayer_stripe.store.subscriptions import WriteSnapshot
from datalayer_stripe.store.unit_of_work import CommitReceipt, UnitOfWork, UpdateOne
from datalayer_stripe.testing.faults import FaultKind
from tests.faults import report, stories
from tests.faults.model import ServiceModel
from tests.faults.runner import SimulationRunner
from tests.faults.simulation import LawViolation, Simulation

pytestmark = pytest.mark.mongod

Story = Callable[[Simulation], Awaitable[Any]]
Patch = pytest.MonkeyPatch

every_crash = partial(stories.every_fault, make_event=stories.pay, kinds=[FaultKind.CRASH])

STORIES: dict[str, Story] = {
    "a process crashes at each call of a delivery": every_crash,
    "two events about one payment": stories.two_events_of_one_payment,
    "a later event about one payment": stories.later_event_of_one_payment,
    "an outdated read of a subscription": stories.outdated_read_of_subscription,
    "an outdated read of a refund": stories.outdated_read_of_refund,
    "two changes within a second": stories.two_changes_in_a_second,
    "one event in two processes": stories.one_event_in_two_processes,
    "a concurrent change of what was read": stories.concurrent_change_of_what_was_read,
    "a failed event": stories.failed_event,
}


def random_ledger_id(patch: Patch) -> None:
    apply, add_to = Credit.apply, Credit.add_to

    def with_random_id(credit: Credit) -> Credit:
        return Credit(credit.entry.model_copy(update={"id": f"row_{uuid.uuid4().hex}"}))

    patch.setattr(Credit, "apply", lambda self, *args: apply(with_random_id(self), *args))
    patch.setattr(Credit, "add_to", lambda self, *args: add_to(with_random_id(self), *args))


def mark_before_the_transaction(patch: Patch) -> None:
    _mark_outside(patch, first=True)


def mark_after_the_transaction(patch: Patch) -> None:
    _mark_outside(patch, first=False)


def _mark_outside(patch: Patch, *, first: bool) -> None:
    apply = Mark.apply

    def marking(attempt: Callable[..., Any]) -> Callable[..., Any]:
        async def attempt_and_mark(self: Transactions, works: Any) -> Any:
            if first:
                for work in works:
                    await apply(work.mark, self.database, None)
            receipts = await attempt(self, works)
            if not first:
                for work in works:
                    await apply(work.mark, self.database, None)
            return receipts

        return attempt_and_mark

    async def apply_nothing(*_: Any) -> None:
        pass

    patch.setattr(Mark, "apply", apply_nothing)
    patch.setattr(Mark, "add_to", lambda *_: None)
    patch.setattr(Transactions, "attempt", marking(Transactions.attempt))
    patch.setattr(Transactions, "attempt_in_bulk", marking(Transactions.attempt_in_bulk))
    _no_check_in_the_transaction(patch)


def _no_check_in_the_transaction(patch: Patch) -> None:
    """Let a unit of work not check the mark before it writes to a plugin's collection."""
    check = Mark.check

    async def check_outside(self: Mark, database: Any, **options: Any) -> None:
        if options.get("session") is None:
            await check(self, database, **options)

    patch.setattr(Mark, "check", check_outside)


def no_transaction(patch: Patch) -> None:
    async def write_one_after_the_other(self: Transactions, works: Any) -> list[CommitReceipt]:
        receipts = [CommitReceipt() for _ in works]
        for work, receipt in zip(works, receipts, strict=True):
            await work.unit.apply(self.database, None, receipt)
            await work.mark.apply(self.database, None)
        return receipts

    patch.setattr(Transactions, "attempt", write_one_after_the_other)
    patch.setattr(Transactions, "attempt_in_bulk", write_one_after_the_other)


def no_transaction_in_bulk(patch: Patch) -> None:
    async def write_in_bulk(self: Transactions, works: Any) -> list[CommitReceipt]:
        bulk, receipts = BulkWrites(), [CommitReceipt() for _ in works]
        for work, receipt in zip(works, receipts, strict=True):
            work.mark.add_to(bulk)
            work.unit.add_to(bulk, receipt)
        await bulk.apply(self.database, None)
        return receipts

    patch.setattr(Transactions, "attempt_in_bulk", write_in_bulk)


def rows_replaced_in_bulk(patch: Patch) -> None:
    """Let a bulk write replace a ledger row that exists, instead of refusing the group."""
    insert = BulkWrites.insert

    def insert_or_replace(self: BulkWrites, collection: str, document: dict[str, Any]) -> None:
        if collection == "ledger":
            self.update(collection, {"_id": document["_id"]}, {"$set": document}, upsert=True)
        else:
            insert(self, collection, document)

    patch.setattr(BulkWrites, "insert", insert_or_replace)


def refused_group_taken_as_done(patch: Patch) -> None:
    """Answer all units of a refused group as duplicates, whatever the database has."""

    async def find_all_done(_: Any, works: Any) -> list[Finding]:
        return [Finding(is_done=True, is_known_event=True, is_unusual=False) for _ in works]

    patch.setattr(group_commit, "examine", find_all_done)


def mark_without_the_done_check(patch: Patch) -> None:
    patch.setattr(marks, "not_done", lambda event, _: {"_id": event.id})
    patch.setattr(Mark, "is_set", lambda *_: False)


def expectation_ignored(patch: Patch) -> None:
    apply = UpdateOne.apply

    async def update_without_expectation(self: UpdateOne, *args: Any) -> None:
        await apply(UpdateOne(self.collection, self.filter, self.update, upsert=self.upsert), *args)

    patch.setattr(UpdateOne, "apply", update_without_expectation)


def no_ticket_on_snapshots(patch: Patch) -> None:
    def write_always(self: WriteSnapshot) -> Any:
        document = self.snapshot.model_dump(exclude={"id"})
        return {"_id": self.snapshot.id}, {"$set": document}, True

    patch.setattr(WriteSnapshot, "_update", write_always)


def ticket_taken_after_the_read(patch: Patch) -> None:
    async def read_first(self: Subscriptions, subscription_id: str, *_: Any) -> Any:
        subscription = await self._stripe.retrieve_subscription(subscription_id)
        snapshot = await self.make_snapshot(subscription)
        return snapshot, await self._store.subscriptions.take_ticket(subscription_id)

    patch.setattr(Subscriptions, "fetch_snapshot", read_first)


def no_ticket_on_reversals(patch: Patch) -> None:
    apply = WriteReversals.apply

    async def write_always(self: WriteReversals, *args: Any) -> None:
        await apply(replace(self, ticket=2**60 + next(turns)), *args)

    turns = count()
    patch.setattr(WriteReversals, "apply", write_always)


def created_as_order(patch: Patch) -> None:
    _order_by_created(patch, ties=0)


def created_as_order_ties_written(patch: Patch) -> None:
    _order_by_created(patch, ties=1)


def _order_by_created(patch: Patch, *, ties: int) -> None:
    """Use the event's `created` as the ticket. With `ties`, the later writer of a second wins."""
    make, apply = ContextFactory.make, WriteSnapshot.apply

    class Recorder(SnapshotRecorder):
        def __init__(self, unit: UnitOfWork, subscriptions: Subscriptions, created: int) -> None:
            super().__init__(unit, subscriptions)
            self._created = created

        async def refresh_from(self, data: Any) -> None:
            subscription_id = await self._subscriptions.subscription_id_in(data)
            if subscription_id is not None:
                snapshot, _ = await self._subscriptions.fetch_snapshot(subscription_id)
                self._unit.record(WriteSnapshot(snapshot, self._created))

    def make_with_created(self: ContextFactory, event: Any, name: str, unit: Any, now: Any) -> Any:
        context = make(self, event, name, unit, now)
        recorder = Recorder(unit, self.subscriptions, event.created)
        object.__setattr__(context, "snapshots", recorder)
        return context

    async def apply_with_ties(self: WriteSnapshot, *args: Any) -> None:
        await apply(WriteSnapshot(self.snapshot, self.ticket + ties), *args)
        if ties:  # store the second itself
            database, mongo_session, _ = args
            await database.subscriptions.update_one(
                {"_id": self.snapshot.id, "written_ticket": self.ticket + ties},
                {"$set": {"written_ticket": self.ticket}},
                session=mongo_session,
            )

    patch.setattr(ContextFactory, "make", make_with_created)
    patch.setattr(WriteSnapshot, "apply", apply_with_ties)
    patch.setattr(UnitOfWork, "has_bulk_form", False)


# How each guard is removed, the story that then fails, and the law that it violates.
GUARDS: dict[str, tuple[Callable[[Patch], None], str, str]] = {
    "unique id of a ledger row": (
        random_ledger_id,
        "two events about one payment",
        "exactly once",
    ),
    "mark in the transaction (not before it)": (
        mark_before_the_transaction,
        "a process crashes at each call of a delivery",
        "no loss",
    ),
    "mark in the transaction (not after it)": (
        mark_after_the_transaction,
        "a process crashes at each call of a delivery",
        "exactly once",
    ),
    "one transaction for all writes": (
        no_transaction,
        "a process crashes at each call of a delivery",
        "balances match the ledger",
    ),
    "one transaction for all bulk writes": (
        no_transaction_in_bulk,
        "a process crashes at each call of a delivery",
        "no loss",
    ),
    "bulk writes insert ledger rows": (
        rows_replaced_in_bulk,
        "a later event about one payment",
        "balances match the ledger",
    ),
    "duplicates are found by a read": (
        refused_group_taken_as_done,
        "a failed event",
        "no loss",
    ),
    "mark only if the event is not done": (
        mark_without_the_done_check,
        "one event in two processes",
        "exactly once",
    ),
    "expectation of what was read": (
        expectation_ignored,
        "a concurrent change of what was read",
        "exactly once",
    ),
    "ticket on snapshots": (
        no_ticket_on_snapshots,
        "an outdated read of a subscription",
        "order-independent",
    ),
    "ticket before the read": (
        ticket_taken_after_the_read,
        "an outdated read of a subscription",
        "order-independent",
    ),
    "ticket on reversals": (
        no_ticket_on_reversals,
        "an outdated read of a refund",
        "order-independent",
    ),
    "ticket, not `created` (the first one of a second wins)": (
        created_as_order,
        "two changes within a second",
        "order-independent",
    ),
    "ticket, not `created` (the last one of a second wins)": (
        created_as_order_ties_written,
        "an outdated read of a subscription",
        "order-independent",
    ),
}


async def run_story(runner: SimulationRunner, story: Story) -> None:
    simulation = await Simulation.open(runner)
    try:
        await story(simulation)
    finally:
        await simulation.close()


@pytest.mark.parametrize("story", STORIES)
def test_story_violates_no_law_with_all_guards(runner: SimulationRunner, story: str) -> None:
    runner.run(run_story(runner, STORIES[story]))


@pytest.mark.parametrize("guard", GUARDS)
def test_story_violates_law_without_guard(
    runner: SimulationRunner, monkeypatch: pytest.MonkeyPatch, guard: str
) -> None:
    remove, story, law = GUARDS[guard]
    remove(monkeypatch)
    with pytest.raises(LawViolation, match=f"^{law}:"):
        runner.run(run_story(runner, STORIES[story]))
    report.note("guards", guard, f"without it, “{story}” violates “{law}”")


@pytest.mark.faults
def test_violation_is_printed_as_a_short_script_that_repeats_it(
    model: type[ServiceModel], quick: settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    random_ledger_id(monkeypatch)
    monkeypatch.setattr(model, "section", "model without a guard")
    # Without its credits a payment violates one law, and its refund, which waits for the credits,
    # violates another. One of the two is enough.
    short = settings(quick, max_examples=200, stateful_step_count=4, report_multiple_bugs=False)
    with pytest.raises(LawViolation) as caught:
        run_state_machine_as_test(model, settings=short)
    lines = "\n".join(caught.value.__notes__).splitlines()
    script = [line for line in lines if line.startswith("state")]
    assert script[0] == "state = ServiceModel()"
    assert script[-1] == "state.teardown()"
    assert len(script) < 6, "the script is not short"
    with pytest.raises(LawViolation, match=r"^no loss:"):
        exec("\n".join(script), {"ServiceModel": model})
