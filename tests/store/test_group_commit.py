"""Groups of units that are committed in one transaction, on a real MongoDB."""

import asyncio
import math
import os
import signal
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from pymongo.errors import AutoReconnect, DuplicateKeyError, ExecutionTimeout, NetworkTimeout

from datalayer_stripe.errors import (
    AlreadyDone,
    CommitRefused,
    PluginFault,
    StoreUnavailable,
)
from datalayer_stripe.service import Service
from datalayer_stripe.store import (
    CommitReceipt,
    Store,
    UnitOfWork,
    commit,
    group_commit,
    transaction,
)
from datalayer_stripe.store.bulk_writes import BulkWrites
from datalayer_stripe.store.commit import Transactions, Work
from datalayer_stripe.store.driver import start_session, start_transaction
from datalayer_stripe.store.group_commit import MAX_BULK_SIZE, GroupCommitter
from datalayer_stripe.store.job_marks import Deferral, JobDone
from datalayer_stripe.store.ledger import Credit
from datalayer_stripe.store.marks import Mark
from datalayer_stripe.store.refused_groups import Finding
from datalayer_stripe.store.subscriptions import WriteSnapshot
from datalayer_stripe.store.unit_of_work import UpdateOne
from datalayer_stripe.tasks import cancel_and_wait
from tests.store.test_store import EVENT, NOW, credit, mark, snapshot
from tests.support.commands import CommandCounter
from tests.support.database import connect
from tests.support.mongod import Mongod, initiate, replica_set_url
from tests.support.shop import rows

pytestmark = pytest.mark.mongod

Patch = pytest.MonkeyPatch


def new_mark(event_id: str, plugin: str = "plugin") -> Mark:
    """Return the mark of an event that probably has no document."""
    return replace(mark(event_id), plugin_name=plugin, is_new_event=True)


def deferral(event_id: str, plugin: str = "plugin", **options: Any) -> Deferral:
    event = EVENT.model_copy(update={"id": event_id})
    return Deferral(event, plugin, NOW, delay=timedelta(seconds=9), **options)


def job_done(event_id: str) -> JobDone:
    return JobDone(EVENT.model_copy(update={"id": event_id}), "plugin", NOW)


def credits_of(accounts: Iterable[str]) -> list[Work]:
    """Return a unit for each account, which adds 50 credits for a payment of its own."""
    return [
        Work(credit(account, f"pi_{n}"), new_mark(f"evt_{n}")) for n, account in enumerate(accounts)
    ]


def with_entry(work: Work, **fields: Any) -> Work:
    """Return the work with changed fields of its ledger row."""
    [operation] = work.unit.operations
    assert isinstance(operation, Credit)
    return work._replace(unit=UnitOfWork([Credit(operation.entry.model_copy(update=fields))]))


async def commit_all(store: Store, works: Iterable[Work]) -> list[CommitReceipt | BaseException]:
    """Commit concurrent units, which become one group, and return how each ended."""
    async with asyncio.timeout(60):  # a unit that is lost never ends
        return await asyncio.gather(
            *(store.commit(*work) for work in works), return_exceptions=True
        )


def hold_transactions(
    monkeypatch: Patch, *, error: Exception | None = None
) -> tuple[asyncio.Event, asyncio.Event]:
    """Hold the transactions of groups, and return two events: one has started, and go on.

    Args:
        monkeypatch: Replaces the transactions.
        error: What they raise when they go on, if anything.
    """
    attempt, started, go_on = Transactions.attempt_in_bulk, asyncio.Event(), asyncio.Event()

    async def held(self: Transactions, works: Sequence[Work]) -> list[CommitReceipt]:
        started.set()
        await go_on.wait()
        if error is not None:
            raise error
        return await attempt(self, works)

    monkeypatch.setattr(Transactions, "attempt_in_bulk", held)
    return started, go_on


def committer_of(service: Service) -> GroupCommitter:
    committer = service.store._committer
    assert isinstance(committer, GroupCommitter)
    return committer


def transactions_in(names: Iterable[str]) -> int:
    return sum(name in {"commitTransaction", "abortTransaction"} for name in names)


def ended(outcomes: Iterable[object]) -> Counter[type]:
    return Counter(map(type, outcomes))


async def balances(service: Service) -> dict[str, int]:
    """Return the balances that are not 0, and check that each is the sum of its ledger."""
    sums: Counter[str] = Counter()
    for row in await rows(service, "ledger"):
        sums[row["account_uid"]] += row["credits"]
    accounts = {row["_id"]: row["credits"] for row in await rows(service, "accounts")}
    assert accounts == sums
    return +Counter(accounts)


async def handlers(service: Service, event_id: str) -> dict[str, str]:
    return (await service.store.events.runs([event_id])).get(event_id, {})


# One transaction


@pytest.mark.gen_test
async def test_group_of_new_credits_is_written_by_four_commands(
    service: Service, commands: CommandCounter
) -> None:
    accounts = ["a", "b", "a", "c"] * 16
    commands.clear()
    outcomes = await commit_all(service.store, credits_of(accounts))
    assert commands.names == ["insert", "insert", "update", "commitTransaction"]
    assert commands.updates == [("accounts", 3)], "one update for each account"
    assert outcomes == [CommitReceipt(credits_added=50)] * 64
    assert await balances(service) == {"a": 32 * 50, "b": 16 * 50, "c": 16 * 50}


@pytest.mark.gen_test
async def test_group_of_mixed_units_is_one_transaction_with_receipt_per_unit(
    service: Service, commands: CommandCounter
) -> None:
    store = service.store
    await commit_all(store, [Work(UnitOfWork(), deferral(one)) for one in ("evt_known", "evt_job")])
    ticket = await store.subscriptions.take_ticket("sub_1")
    works = [
        *credits_of(["a", "b"]),
        Work(UnitOfWork(), replace(new_mark("evt_nothing"), writes=0)),
        Work(credit("a", "pi_known"), replace(mark("evt_known"), plugin_name="second")),
        Work(credit("c", "pi_job"), job_done("evt_job")),
        Work(UnitOfWork(), deferral("evt_deferred", is_new_event=True)),
        Work(UnitOfWork([WriteSnapshot(snapshot("active"), ticket)]), new_mark("evt_sub")),
    ]
    commands.clear()
    outcomes = await commit_all(store, works)
    assert transactions_in(commands.names) == 1
    added = [one.credits_added for one in outcomes if isinstance(one, CommitReceipt)]
    assert added == [50, 50, 0, 50, 50, 0, 0]
    assert await balances(service) == {"a": 100, "b": 50, "c": 50}
    assert await handlers(service, "evt_known") == {"plugin": "deferred", "second": "done"}
    assert await handlers(service, "evt_job") == {"plugin": "done"}
    jobs = [row["_id"] for row in await rows(service, "jobs")]
    assert jobs == ["evt_deferred:plugin", "evt_known:plugin"]
    assert await store.subscriptions.of_account("a") == [snapshot("active")]


Prepare = Callable[[Store], Awaitable[object]]


async def prepare_nothing(_: Store) -> None:
    """Prepare nothing."""


async def prepare_failure(store: Store) -> None:
    await store.events.record_failure(mark("evt_1").event, "plugin", "a bug", NOW)


async def prepare_two_failures(store: Store) -> None:
    await prepare_failure(store)
    await store.events.record_rejection(mark("evt_1").event, "other", "a reason", NOW)


async def prepare_job(store: Store) -> None:
    await store.commit(UnitOfWork(), deferral("evt_1"))


FORMS: dict[str, tuple[Prepare, Work]] = {
    "new event": (prepare_nothing, Work(credit("a", "pi_1"), replace(new_mark("evt_1"), writes=1))),
    "known event": (prepare_failure, Work(credit("a", "pi_1"), replace(mark("evt_1"), writes=1))),
    "another plugin failed": (prepare_two_failures, Work(UnitOfWork(), mark("evt_1"))),
    "new deferral": (prepare_nothing, Work(UnitOfWork(), deferral("evt_1", is_new_event=True))),
    "deferral of failed event": (prepare_failure, Work(UnitOfWork(), deferral("evt_1"))),
    "job done": (prepare_job, Work(credit("a", "pi_1"), job_done("evt_1"))),
    "snapshot": (
        prepare_nothing,
        Work(UnitOfWork([WriteSnapshot(snapshot("active"), 0)]), new_mark("evt_1")),
    ),
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.gen_test
async def test_bulk_form_writes_the_same_documents(service: Service, form: str) -> None:
    prepare, work = FORMS[form]
    store, transactions = service.store, committer_of(service).transactions
    written = []
    for attempt in (transactions.attempt, transactions.attempt_in_bulk):
        await prepare(store)
        receipt = await attempt([work])
        names = ("events", "jobs", "ledger", "accounts", "subscriptions")
        written.append((receipt, [await rows(service, name) for name in names]))
        for name in names:
            await store._database[name].delete_many({})
    assert written[0] == written[1]


# Duplicates


@pytest.mark.gen_test
async def test_event_delivered_fifty_times_at_once_is_committed_once(
    service: Service, commands: CommandCounter
) -> None:
    work = Work(credit("a", "pi_1"), new_mark("evt_1"))
    commands.clear()
    outcomes = await commit_all(service.store, [work] * 50)
    assert ended(outcomes) == {CommitReceipt: 1, AlreadyDone: 49}
    assert transactions_in(commands.names) == 1
    before = [await rows(service, name) for name in ("events", "ledger", "accounts")]
    commands.clear()
    assert ended(await commit_all(service.store, [work] * 50)) == {AlreadyDone: 50}
    assert "commitTransaction" not in commands.names
    assert [await rows(service, name) for name in ("events", "ledger", "accounts")] == before


@pytest.mark.gen_test
async def test_done_units_of_group_are_duplicates_and_others_are_committed_together(
    service: Service, commands: CommandCounter
) -> None:
    works = credits_of("abcdefgh")
    await commit_all(service.store, works[::2])
    commands.clear()
    outcomes = await commit_all(service.store, works)
    assert [type(one) for one in outcomes] == [AlreadyDone, CommitReceipt] * 4
    assert transactions_in(commands.names) == 2, "the refused group, and what is left of it"
    assert await balances(service) == dict.fromkeys("abcdefgh", 50)


@pytest.mark.gen_test
async def test_two_events_of_one_payment_in_one_group_credit_it_once(service: Service) -> None:
    works = credits_of("abcd")
    works.append(works[1]._replace(mark=new_mark("evt_second")))
    outcomes = await commit_all(service.store, works)
    receipts = [one for one in outcomes if isinstance(one, CommitReceipt)]
    assert len(receipts) == 5
    assert Counter(one.credits_added for one in receipts) == {50: 4, 0: 1}
    assert [one.already_credited for one in receipts if not one.credits_added] == [["pi_1"]]
    assert await balances(service) == dict.fromkeys("abcd", 50)
    assert await handlers(service, "evt_second") == {"plugin": "done"}


@pytest.mark.gen_test
async def test_two_plugins_on_one_event_in_one_group_are_both_done(service: Service) -> None:
    works = [
        Work(credit("a", "pi_2"), replace(mark("evt_1"), plugin_name="second")),
        Work(credit("a", "pi_1"), new_mark("evt_1", "first")),
        Work(credit("b", "pi_3"), new_mark("evt_2", "first")),
        Work(credit("b", "pi_4"), new_mark("evt_2", "second")),
    ]
    assert ended(await commit_all(service.store, works)) == {CommitReceipt: 4}
    for event_id in ("evt_1", "evt_2"):
        assert await handlers(service, event_id) == {"first": "done", "second": "done"}
    assert await balances(service) == {"a": 100, "b": 100}


@pytest.mark.gen_test
async def test_duplicate_that_only_the_primary_has_is_no_duplicate_yet(
    service: Service, monkeypatch: Patch
) -> None:
    [work] = credits_of("a")
    await service.store.commit(*work)
    checks = []

    async def check(self: Transactions, of: Mark) -> None:
        checks.append(of.key)
        if len(checks) == 2:
            raise AlreadyDone

    async def find_nothing(*_: Any) -> list[Finding]:
        return [Finding(is_done=False, is_known_event=False, is_unusual=False)]

    monkeypatch.setattr(Transactions, "_check_durable", check)
    monkeypatch.setattr(group_commit, "examine", find_nothing)
    with pytest.raises(AlreadyDone):
        await service.store.commit(*work)
    assert checks == [work.mark.key] * 2


# Payloads


@pytest.mark.parametrize(("second", "last"), [("failed-2", "rejected"), ("rejected", "failed-2")])
@pytest.mark.gen_test
async def test_payload_is_deleted_when_no_plugin_of_the_event_has_to_run_again(
    service: Service, second: str, last: str
) -> None:
    store, event = service.store, mark("evt_1").event
    for plugin in ("failed-1", "failed-2"):
        await store.events.record_failure(event, plugin, "a bug", NOW)
    await store.events.record_rejection(event, "rejected", "a reason", NOW)

    async def payload_after(*plugins: str) -> str | None:
        works = [Work(UnitOfWork(), new_mark("evt_1", plugin)) for plugin in plugins]
        outcomes = await commit_all(store, [*credits_of("a"), *works])
        assert CommitReceipt in ended(outcomes[1:])
        record = await store.events.get("evt_1")
        assert record is not None
        return record.payload

    assert await payload_after("unrelated", "failed-1")
    assert await payload_after("failed-1", second)
    assert await payload_after(second, last) is None


# Debts


@pytest.mark.gen_test
async def test_credits_of_account_with_debt_pay_it_in_a_group(service: Service) -> None:
    database = service.store._database
    entries = [
        {"_id": "re_1", "account_uid": "debtor", "kind": "refund", "credits": -80},
        {"_id": "re_1-debt", "account_uid": "debtor", "kind": "debt", "credits": 80},
    ]
    await database.ledger.insert_many(entries)
    await database.accounts.insert_one({"_id": "debtor", "credits": 0, "debt": 80})
    outcomes = await commit_all(service.store, credits_of(["a", "debtor", "b", "debtor"]))
    assert ended(outcomes) == {CommitReceipt: 4}
    paid = [row["credits"] for row in await rows(service, "ledger") if row["kind"] == "debt-paid"]
    assert sorted(paid) == [-50, -30]
    assert await balances(service) == {"a": 50, "b": 50, "debtor": 20}
    assert (await rows(service, "accounts"))[-1]["debt"] == 0


# Refused groups


EXISTING: dict[str, tuple[str, dict[str, Any]]] = {
    "event": ("events", {"_id": "evt_2"}),
    "ledger row": ("ledger", {"_id": "pi_2", "account_uid": "c", "credits": 0}),
    "debt": ("accounts", {"_id": "c", "credits": 0, "debt": 50}),
}
"""Documents because of which the database refuses a group that credits the accounts a to d."""


@pytest.mark.parametrize("existing", EXISTING)
@pytest.mark.gen_test
async def test_bulk_write_that_is_refused_leaves_nothing_of_its_group(
    service: Service, existing: str
) -> None:
    collection, document = EXISTING[existing]
    await service.store._database[collection].insert_one(document)
    with pytest.raises(DuplicateKeyError):
        await committer_of(service).transactions.attempt_in_bulk(credits_of("abcd"))
    found = [row for name in ("events", "ledger", "accounts") for row in await rows(service, name)]
    assert found == [document]


@pytest.mark.parametrize(
    ("existing", "transactions"), [("event", 2), ("ledger row", 3), ("debt", 3)]
)
@pytest.mark.gen_test
async def test_unusual_unit_costs_its_group_one_or_two_transactions_more(
    service: Service, commands: CommandCounter, existing: str, transactions: int
) -> None:
    collection, document = EXISTING[existing]
    await service.store._database[collection].insert_one(document)
    commands.clear()
    outcomes = await commit_all(service.store, credits_of("abcd"))
    assert ended(outcomes) == {CommitReceipt: 4}
    assert transactions_in(commands.names) == transactions
    assert await handlers(service, "evt_2") == {"plugin": "done"}


async def refuse_credits(service: Service, account: str) -> None:
    """Let the database refuse credits of an account: its balance is no number."""
    await service.store._database.accounts.insert_one({"_id": account, "credits": "text"})


REFUSED: dict[str, dict[str, Any]] = {
    "too large document": {"price_id": "x" * 17_000_000},
    "integer above 64 bits": {"amount": 2**64},
    "refused by the server": {"account_uid": "refused"},
}


@pytest.mark.parametrize("reason", REFUSED)
@pytest.mark.gen_test
async def test_refused_unit_among_64_costs_about_two_log_n_transactions(
    service: Service, commands: CommandCounter, reason: str
) -> None:
    works = credits_of(["a", "b"] * 32)
    works[37] = with_entry(works[37], **REFUSED[reason])
    await refuse_credits(service, "refused")
    commands.clear()
    outcomes = await commit_all(service.store, works)
    assert transactions_in(commands.names) <= 2 * math.log2(64) + 2
    assert isinstance(outcomes.pop(37), CommitRefused)
    assert outcomes == [CommitReceipt(credits_added=50)] * 63
    await service.store._database.accounts.delete_one({"_id": "refused"})
    assert await balances(service) == {"a": 32 * 50, "b": 31 * 50}
    assert await handlers(service, "evt_37") == {}


@pytest.mark.gen_test
async def test_refused_group_is_committed_although_it_cannot_be_examined(
    service: Service, monkeypatch: Patch
) -> None:
    works = credits_of("abcdefgh")
    await commit_all(service.store, works[2:3])

    async def fail(*_: Any) -> None:
        raise AutoReconnect("no answer")

    monkeypatch.setattr(group_commit, "examine", fail)
    outcomes = await commit_all(service.store, works)
    assert isinstance(outcomes.pop(2), AlreadyDone)
    assert ended(outcomes) == {CommitReceipt: 7}
    assert await balances(service) == dict.fromkeys("abcdefgh", 50)


@pytest.mark.gen_test
async def test_group_larger_than_the_maximum_is_committed_in_several_transactions(
    service: Service, commands: CommandCounter
) -> None:
    commands.clear()
    outcomes = await commit_all(service.store, credits_of(["a"] * (2 * MAX_BULK_SIZE + 1)))
    assert ended(outcomes) == {CommitReceipt: 2 * MAX_BULK_SIZE + 1}
    assert transactions_in(commands.names) == 3
    assert await balances(service) == {"a": (2 * MAX_BULK_SIZE + 1) * 50}


# Interruptions


@pytest.mark.gen_test
async def test_abandoned_transaction_delays_only_the_unit_that_conflicts(
    service: Service, commands: CommandCounter
) -> None:
    database = service.store._database
    async with await start_session(service.store._client) as abandoned:
        await start_transaction(abandoned)
        await database.accounts.update_one(
            {"_id": "locked"}, {"$inc": {"credits": 0}}, upsert=True, session=abandoned
        )
        works = credits_of([*map(str, range(63)), "locked"])
        tasks = [asyncio.create_task(service.store.commit(*work)) for work in works]
        commands.clear()
        assert await asyncio.gather(*tasks[:-1]) == [CommitReceipt(credits_added=50)] * 63
        assert commands.names.count("commitTransaction") <= math.log2(64) + 1
        assert not tasks[-1].done()
        await abandoned.abort_transaction()
    assert await tasks[-1] == CommitReceipt(credits_added=50)
    assert sum((await balances(service)).values()) == 64 * 50


def lose_connection_once(patch: Patch, when: str) -> None:
    """Let the first group lose its connection before, in or after its commit."""
    finish, apply, lost = transaction._finish, BulkWrites.apply, []
    unknown = {"errorLabels": ["UnknownTransactionCommitResult"]}

    async def lose_in(self: BulkWrites, *args: Any) -> None:
        await apply(self, *args)
        if not lost:
            lost.append(when)
            raise AutoReconnect("lost", {"errorLabels": ["TransientTransactionError"]})

    async def lose_at_commit(mongo_session: Any) -> None:
        if lost:
            await finish(mongo_session)
            return
        lost.append(when)
        if when == "after":
            await finish(mongo_session)
        raise AutoReconnect("lost", unknown)

    if when == "in":
        patch.setattr(BulkWrites, "apply", lose_in)
    else:
        patch.setattr(transaction, "_finish", lose_at_commit)


@pytest.mark.parametrize("when", ["in", "before", "after"])
@pytest.mark.gen_test
async def test_group_whose_connection_is_lost_is_credited_once(
    service: Service, monkeypatch: Patch, when: str
) -> None:
    works = credits_of("abcdabcd")
    with monkeypatch.context() as patch:
        lose_connection_once(patch, when)
        outcomes = await commit_all(service.store, works)
    assert ended(outcomes) == {AlreadyDone if when == "after" else CommitReceipt: 8}
    assert await balances(service) == dict.fromkeys("abcd", 100)
    assert ended(await commit_all(service.store, works)) == {AlreadyDone: 8}


@pytest.mark.gen_test
async def test_unit_of_cancelled_caller_is_committed_with_its_group(
    service: Service, monkeypatch: Patch
) -> None:
    started, go_on = hold_transactions(monkeypatch)
    works = credits_of("abcd")
    tasks = [asyncio.create_task(service.store.commit(*work)) for work in works]
    await started.wait()
    waiting = asyncio.create_task(service.store.commit(*credits_of("abcde")[4]))
    tasks[1].cancel()
    await asyncio.wait([tasks[1]])
    go_on.set()
    outcomes = await asyncio.gather(*tasks, waiting, return_exceptions=True)
    assert isinstance(outcomes.pop(1), asyncio.CancelledError)
    assert outcomes == [CommitReceipt(credits_added=50)] * 4
    assert await balances(service) == dict.fromkeys("abcde", 50)


@pytest.mark.gen_test
async def test_commit_of_cancelled_caller_ends_before_the_store_is_closed(
    service: Service, mongodb_url: str, monkeypatch: Patch
) -> None:
    store = await connect(mongodb_url, livemode=False)
    started, go_on = hold_transactions(monkeypatch)
    committing = asyncio.create_task(store.commit(*credits_of(["a"])[0]))
    await started.wait()
    await cancel_and_wait(committing)
    closing = asyncio.create_task(store.close())
    for _ in range(10):
        await asyncio.sleep(0)
    go_on.set()
    await closing
    assert await balances(service) == {"a": 50}


@pytest.mark.gen_test
async def test_retries_of_a_failed_group_end_before_the_store_is_closed(
    service: Service, mongodb_url: str, monkeypatch: Patch
) -> None:
    store = await connect(mongodb_url, livemode=False)
    started, go_on = hold_transactions(monkeypatch, error=AutoReconnect("the connection is lost"))
    committing = [asyncio.create_task(store.commit(*work)) for work in credits_of("abc")]
    await started.wait()
    await cancel_and_wait(*committing)
    closing = asyncio.create_task(store.close())
    for _ in range(10):
        await asyncio.sleep(0)
    go_on.set()
    await closing
    assert await balances(service) == dict.fromkeys("abc", 50)


@pytest.mark.gen_test
async def test_duplicate_of_a_refused_unit_is_refused_too(
    service: Service, monkeypatch: Patch
) -> None:
    started, go_on = asyncio.Event(), asyncio.Event()
    attempt = Transactions.attempt_in_bulk

    async def wait(self: Transactions, works: Sequence[Work]) -> list[CommitReceipt]:
        started.set()
        await go_on.wait()
        return await attempt(self, works)

    monkeypatch.setattr(Transactions, "attempt_in_bulk", wait)
    commit = service.store.commit
    [first, good, bad] = credits_of(["first", "good", "bad"])
    bad = with_entry(bad, reason="x" * 17 * 1024 * 1024)
    tasks = [asyncio.create_task(commit(*first))]
    await started.wait()
    # These wait for one group: a unit that can be committed, one that cannot, and both again.
    tasks += [asyncio.create_task(commit(*work)) for work in (good, bad, good, bad)]
    await asyncio.sleep(0)
    go_on.set()
    outcomes = await asyncio.gather(*tasks, return_exceptions=True)
    assert [type(one) for one in outcomes[:2]] == [CommitReceipt, CommitReceipt]
    assert [type(one) for one in outcomes[2:]] == [CommitRefused, AlreadyDone, CommitRefused]


@pytest.mark.gen_test
async def test_units_that_wait_fail_at_once_when_the_database_does_not_answer(
    service: Service, monkeypatch: Patch
) -> None:
    started, go_on, attempts = asyncio.Event(), asyncio.Event(), Counter[str]()

    async def hang(self: Transactions, works: Sequence[Work]) -> list[CommitReceipt]:
        attempts["in bulk"] += 1
        started.set()
        await go_on.wait()
        raise NetworkTimeout("timed out")

    async def count_attempt(self: Transactions, works: Sequence[Work]) -> list[CommitReceipt]:
        attempts["alone"] += 1
        raise NetworkTimeout("timed out")

    monkeypatch.setattr(Transactions, "attempt_in_bulk", hang)
    monkeypatch.setattr(Transactions, "attempt", count_attempt)
    works = credits_of("abc")
    tasks = [asyncio.create_task(service.store.commit(*works[0]))]
    await started.wait()
    tasks += [asyncio.create_task(service.store.commit(*work)) for work in works[1:]]
    await asyncio.sleep(0)
    go_on.set()
    outcomes = await asyncio.gather(*tasks, return_exceptions=True)
    assert [type(one) for one in outcomes] == [StoreUnavailable] * 3
    assert attempts == {"in bulk": 1}


@pytest.mark.gen_test
async def test_transaction_of_a_database_that_hangs_is_ended_and_locks_nothing(
    new_mongod: Callable[[str | None], Mongod], monkeypatch: Patch
) -> None:
    mongod = new_mongod("rs0")
    await asyncio.to_thread(initiate, [mongod])
    store = await connect(replica_set_url([mongod]), livemode=False)
    try:
        works = credits_of("aaa")
        assert isinstance((await commit_all(store, works[:1]))[0], CommitReceipt)
        monkeypatch.setattr(commit, "CALL_SECONDS", 1.0)
        apply = BulkWrites.apply

        async def hang_after_the_writes(self: BulkWrites, database: Any, session: Any) -> None:
            await apply(self, database, session)
            os.kill(mongod.pid, signal.SIGSTOP)
            await asyncio.to_thread(os.waitpid, mongod.pid, os.WUNTRACED)
            await database.accounts.find_one(session=session)

        with monkeypatch.context() as patch:
            patch.setattr(BulkWrites, "apply", hang_after_the_writes)
            (outcome,) = await commit_all(store, works[1:2])
        assert isinstance(outcome, StoreUnavailable)
        os.kill(mongod.pid, signal.SIGCONT)
        monkeypatch.undo()
        # Without the abandoned transaction's end, both would wait for the account for a minute.
        assert isinstance((await commit_all(store, works[1:2]))[0], CommitReceipt)
        assert isinstance((await commit_all(store, works[2:]))[0], CommitReceipt)
    finally:
        os.kill(mongod.pid, signal.SIGCONT)
        await store.close()


# Several processes


@pytest.mark.gen_test
async def test_two_processes_that_commit_the_same_units_credit_each_once(
    service: Service, mongodb_url: str
) -> None:
    accounts = [f"hot_{n % 3}" if n % 2 else f"cold_{n}" for n in range(200)]
    works = credits_of(accounts)
    second = await connect(mongodb_url, livemode=False)
    try:
        outcomes = await asyncio.gather(
            commit_all(service.store, works), commit_all(second, works[::-1])
        )
    finally:
        await second.close()
    for one, other in zip(outcomes[0], outcomes[1][::-1], strict=True):
        assert {type(one), type(other)} == {CommitReceipt, AlreadyDone}
    assert await balances(service) == {name: 50 * n for name, n in Counter(accounts).items()}


# Plugins' writes


@pytest.mark.parametrize("error", [ExecutionTimeout("slow", 50), NetworkTimeout("slow")])
@pytest.mark.gen_test
async def test_slow_plugin_write_delays_no_unit_of_its_group_twice(
    service: Service, monkeypatch: Patch, error: Exception
) -> None:
    write = UpdateOne("plugin_x", {"_id": 1}, {"$set": {"seen": True}}, upsert=True)
    slow, *others = [Work(UnitOfWork([write]), mark(f"evt_{n}")) for n in range(8)]
    attempt, sizes = Transactions.attempt, []

    async def time_out(self: Transactions, works: Sequence[Work]) -> list[CommitReceipt]:
        sizes.append(len(works))
        if slow in works:
            raise error
        return await attempt(self, works)

    monkeypatch.setattr(Transactions, "attempt", time_out)
    outcomes = await commit_all(service.store, [slow, *others])
    assert isinstance(outcomes[0], PluginFault)
    assert outcomes[1:] == [CommitReceipt()] * 7
    assert [size for size in sizes if size > 1] == [8], "no smaller group is tried"
