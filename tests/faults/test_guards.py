"""A deliberately broken copy of each guard makes some story break a law.

So the stories can fail, and each guard is needed. The list of which story notices which guard's
absence goes into the report.
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
from datalayer_stripe.plugin_api.context import ContextFactory, SnapshotRecorder
from datalayer_stripe.store import events
from datalayer_stripe.store.commit import Transactions
from datalayer_stripe.store.events import Mark
from datalayer_stripe.store.ledger import Credit
from datalayer_stripe.store.reversals import WriteReversals
from datalayer_stripe.store.subscriptions import WriteSnapshot
from datalayer_stripe.store.unit_of_work import CommitReceipt, UnitOfWork, UpdateOne
from tests.faults import report, stories
from tests.faults.environment import Stage
from tests.faults.injection import Kind
from tests.faults.model import Books
from tests.faults.world import LawBroken, World

pytestmark = pytest.mark.mongod

Story = Callable[[World], Awaitable[Any]]
Patch = pytest.MonkeyPatch

every_crash = partial(stories.every_cut, happen=stories.a_payment, kinds=[Kind.CRASH])

STORIES: dict[str, Story] = {
    "a process dies at each call of a delivery": every_crash,
    "two events tell of one payment": stories.two_events_one_payment,
    "a look at Stripe is overtaken": stories.an_overtaken_look,
    "a look at a refund is overtaken": stories.an_overtaken_refund,
    "two changes within a second": stories.two_changes_in_a_second,
    "two processes work on one event": stories.two_processes_one_event,
    "what a plugin has read changes": stories.a_read_that_has_changed,
}


def no_unique_ledger_id(patch: Patch) -> None:
    apply = Credit.apply

    async def with_random_id(self: Credit, *args: Any) -> None:
        entry = self.entry.model_copy(update={"id": f"row_{uuid.uuid4().hex}"})
        await apply(Credit(entry), *args)

    patch.setattr(Credit, "apply", with_random_id)


def mark_before_the_transaction(patch: Patch) -> None:
    _mark_outside(patch, first=True)


def mark_after_the_transaction(patch: Patch) -> None:
    _mark_outside(patch, first=False)


def _mark_outside(patch: Patch, *, first: bool) -> None:
    attempt, apply = Transactions.attempt, Mark.apply

    async def attempt_and_mark(self: Transactions, works: Any) -> Any:
        if first:
            for work in works:
                await apply(work.mark, self._database, None)
        receipts = await attempt(self, works)
        if not first:
            for work in works:
                await apply(work.mark, self._database, None)
        return receipts

    async def nothing(*_: Any) -> None:
        pass

    patch.setattr(Mark, "apply", nothing)
    patch.setattr(Transactions, "attempt", attempt_and_mark)
    _no_check_in_the_transaction(patch)


def _no_check_in_the_transaction(patch: Patch) -> None:
    """A unit with writes to a plugin's collection looks for the mark before it makes them."""
    check = Mark.check

    async def check_outside(self: Mark, database: Any, **options: Any) -> None:
        if options.get("session") is None:
            await check(self, database, **options)

    patch.setattr(Mark, "check", check_outside)


def no_transaction(patch: Patch) -> None:
    async def one_after_the_other(self: Transactions, works: Any) -> list[CommitReceipt]:
        receipts = [CommitReceipt() for _ in works]
        for work, receipt in zip(works, receipts, strict=True):
            await work.unit.apply(self._database, None, receipt)
            await work.mark.apply(self._database, None)
        return receipts

    patch.setattr(Transactions, "attempt", one_after_the_other)


def mark_without_the_done_check(patch: Patch) -> None:
    patch.setattr(events, "_not_done", lambda event, _: {"_id": event.id})
    _no_check_in_the_transaction(patch)


def expectation_ignored(patch: Patch) -> None:
    apply = UpdateOne.apply

    async def whatever_is_there(self: UpdateOne, *args: Any) -> None:
        await apply(UpdateOne(self.collection, self.filter, self.update, upsert=self.upsert), *args)

    patch.setattr(UpdateOne, "apply", whatever_is_there)


def no_ticket_on_snapshots(patch: Patch) -> None:
    async def write_always(
        self: WriteSnapshot, database: Any, mongo_session: Any, _: CommitReceipt
    ) -> None:
        document = self.snapshot.model_dump(exclude={"id"})
        await database.subscriptions.update_one(
            {"_id": self.snapshot.id}, {"$set": document}, upsert=True, session=mongo_session
        )

    patch.setattr(WriteSnapshot, "apply", write_always)


def ticket_taken_after_the_look(patch: Patch) -> None:
    async def look_first(self: Subscriptions, subscription_id: str) -> Any:
        snapshot = await self.snapshot(await self._stripe.retrieve_subscription(subscription_id))
        return snapshot, await self._store.subscriptions.take_ticket(subscription_id)

    patch.setattr(Subscriptions, "look", look_first)


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
    """The event's second is the ticket. With `ties`, of one second the later writer wins."""
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
        if ties:  # what is kept is the second itself
            database, mongo_session, _ = args
            await database.subscriptions.update_one(
                {"_id": self.snapshot.id, "written_ticket": self.ticket + ties},
                {"$set": {"written_ticket": self.ticket}},
                session=mongo_session,
            )

    patch.setattr(ContextFactory, "make", make_with_created)
    patch.setattr(WriteSnapshot, "apply", apply_with_ties)


# Each guard's absence, the story that notices it, and by which law.
GUARDS: dict[str, tuple[Callable[[Patch], None], str, str]] = {
    "unique id of a ledger row": (
        no_unique_ledger_id,
        "two events tell of one payment",
        "exactly once",
    ),
    "mark in the transaction (not before)": (
        mark_before_the_transaction,
        "a process dies at each call of a delivery",
        "no loss",
    ),
    "mark in the transaction (not after)": (
        mark_after_the_transaction,
        "a process dies at each call of a delivery",
        "exactly once",
    ),
    "one transaction for all writes": (
        no_transaction,
        "a process dies at each call of a delivery",
        "books balance",
    ),
    "mark only where it is not done": (
        mark_without_the_done_check,
        "two processes work on one event",
        "exactly once",
    ),
    "expectation of what was read": (
        expectation_ignored,
        "what a plugin has read changes",
        "exactly once",
    ),
    "ticket on snapshots": (
        no_ticket_on_snapshots,
        "a look at Stripe is overtaken",
        "order-free",
    ),
    "ticket before the look": (
        ticket_taken_after_the_look,
        "a look at Stripe is overtaken",
        "order-free",
    ),
    "ticket on reversals": (
        no_ticket_on_reversals,
        "a look at a refund is overtaken",
        "order-free",
    ),
    "ticket, not `created` (first of a second wins)": (
        created_as_order,
        "two changes within a second",
        "order-free",
    ),
    "ticket, not `created` (last of a second wins)": (
        created_as_order_ties_written,
        "a look at Stripe is overtaken",
        "order-free",
    ),
}


async def tell(stage: Stage, story: Story) -> None:
    world = await World.open(stage)
    try:
        await story(world)
    finally:
        await world.close()


@pytest.mark.parametrize("story", STORIES)
def test_with_all_guards_no_story_breaks_a_law(stage: Stage, story: str) -> None:
    stage.run(tell(stage, STORIES[story]))


@pytest.mark.parametrize("guard", GUARDS)
def test_without_a_guard_a_story_breaks_a_law(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, guard: str
) -> None:
    take_away, story, law = GUARDS[guard]
    take_away(monkeypatch)
    with pytest.raises(LawBroken, match=f"^{law}:"):
        stage.run(tell(stage, STORIES[story]))
    report.note("guards", guard, f"without it: “{story}” breaks “{law}”")


@pytest.mark.faults
def test_a_broken_law_is_told_as_a_script_that_breaks_it_again(
    books: type[Books], quick: settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    no_unique_ledger_id(monkeypatch)
    monkeypatch.setattr(books, "section", "model without a guard")
    # A payment that is not credited breaks a law, and a refund that waits for it another.
    short = settings(quick, max_examples=200, stateful_step_count=4, report_multiple_bugs=False)
    with pytest.raises(LawBroken) as caught:
        run_state_machine_as_test(books, settings=short)
    lines = "\n".join(caught.value.__notes__).splitlines()
    script = [line for line in lines if line.startswith("state")]
    assert script[0] == "state = Books()"
    assert script[-1] == "state.teardown()"
    assert len(script) < 6, "as short as it can be made"
    with pytest.raises(LawBroken, match=r"^no loss:"):
        exec("\n".join(script), {"Books": books})
