"""Each query for operators reads an index: the server's plans of the commands as they are sent.

The commands are recorded by the driver's monitoring and explained on a real MongoDB.
"""

import json
import re
from collections.abc import Awaitable, Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
from pymongo import MongoClient, monitoring

from datalayer_stripe.administration.administration import Administration
from datalayer_stripe.service import Service
from tests.administration.documents import NOW, event, job, ledger_row
from tests.support.shop import insert

pytestmark = pytest.mark.mongod

_READS = frozenset({"find", "aggregate", "distinct", "count"})


class ReadRecorder(monitoring.CommandListener):
    """Records the reads that are sent to one database."""

    def __init__(self) -> None:
        self.database: str | None = None
        self.commands: list[dict[str, Any]] = []

    def started(self, event: monitoring.CommandStartedEvent) -> None:
        if event.database_name == self.database and event.command_name in _READS:
            sent = dict(event.command)
            self.commands.append(
                {name: one for name, one in sent.items() if name != "lsid" and name[0] != "$"}
            )

    def succeeded(self, event: monitoring.CommandSucceededEvent) -> None:
        pass

    def failed(self, event: monitoring.CommandFailedEvent) -> None:
        pass


RECORDER = ReadRecorder()
monitoring.register(RECORDER)


@pytest.fixture
def reads(mongodb_url: str) -> Iterator[list[dict[str, Any]]]:
    RECORDER.database = re.sub(r"^.*/|\?.*$", "", mongodb_url)
    RECORDER.commands.clear()
    yield RECORDER.commands
    RECORDER.database = None


async def fill(service: Service) -> None:
    """Insert enough documents that the server does not prefer to read the whole collection."""
    moments = [NOW - timedelta(minutes=number) for number in range(600)]
    await insert(
        service,
        "events",
        *(
            event(
                f"evt_{number}",
                at=at,
                failed=["one"] if number % 50 == 0 else (),
                rejected=["one"] if number % 70 == 0 else (),
                account_uid=f"account_{number % 60}",
            )
            for number, at in enumerate(moments)
        ),
    )
    await insert(
        service,
        "ledger",
        *(
            ledger_row(f"pi_{number}", at=at, account=f"account_{number % 60}")
            for number, at in enumerate(moments)
        ),
    )
    await insert(
        service,
        "accounts",
        *(
            {"_id": f"account_{number}", "credits": 1, "handle": f"handle_{number}"}
            for number in range(600)
        ),
    )
    await insert(service, "jobs", *(job(f"evt_{number}", "later") for number in range(600)))


async def whole_story(administration: Administration) -> None:
    story = await administration.accounts.story("account_7", limit=2)
    cursors = story.ledger_cursor, story.payments_cursor, story.events_cursor
    assert all(cursors)
    await administration.accounts.ledger("account_7", limit=2, cursor=cursors[0])
    await administration.accounts.payments("account_7", limit=2, cursor=cursors[1])
    await administration.events.page(account_uid="account_7", limit=2, cursor=cursors[2])


async def two_pages(page: Callable[[str | None], Awaitable[Any]]) -> None:
    first = await page(None)
    assert first.next_cursor
    await page(first.next_cursor)


def events(**wanted: Any) -> Callable[[Administration], Awaitable[None]]:
    return lambda one: two_pages(lambda at: one.events.page(limit=2, cursor=at, **wanted))


def accounts(query: str) -> Callable[[Administration], Awaitable[None]]:
    return lambda one: two_pages(lambda at: one.accounts.page(query, limit=2, cursor=at))


# Each list, and whether its rows may be sorted in memory: those of one account only.
LISTS: dict[str, tuple[Callable[[Administration], Awaitable[Any]], bool]] = {
    "overview": (lambda one: one.overviews.of_last(366), False),
    "events": (events(), False),
    "failed": (events(status="failed"), False),
    "rejected": (events(status="rejected"), False),
    "deferred": (events(status="deferred"), False),
    "type": (events(event_type="payment_intent.succeeded"), False),
    "events of an account": (events(account_uid="account_7"), True),
    "accounts": (accounts(""), False),
    "accounts by uid": (accounts("account_1"), False),
    "accounts by handle": (accounts("handle_1"), False),
    "customer": (lambda one: one.accounts.page("cus_1", limit=2), False),
    "payments": (
        lambda one: two_pages(lambda at: one.accounts.payments("account_7", limit=2, cursor=at)),
        False,
    ),
    "story": (whole_story, True),
}


def stages(plan: Any) -> Iterator[dict[str, Any]]:
    """Yield the stages of a plan, whatever their nesting."""
    if isinstance(plan, dict):
        if isinstance(plan.get("stage"), str):
            yield plan
        yield from (one for value in plan.values() for one in stages(value))
    elif isinstance(plan, list):
        yield from (one for value in plan for one in stages(value))


def winning_plans(explained: Any) -> Iterator[Any]:
    """Yield each plan that the server has chosen, and each stage after it."""
    if isinstance(explained, dict):
        for name, value in explained.items():
            if name == "winningPlan":
                yield value
            elif name == "$sort":
                yield {"stage": "SORT"}
            elif name not in ("rejectedPlans", "command"):
                yield from winning_plans(value)
    elif isinstance(explained, list):
        for one in explained:
            yield from winning_plans(one)


@pytest.mark.gen_test
@pytest.mark.parametrize("name", LISTS)
async def test_list_reads_an_index_in_its_order(
    service: Service, mongodb_url: str, reads: list[dict[str, Any]], name: str
) -> None:
    await fill(service)
    read, may_sort = LISTS[name]
    await read(service.administration)
    assert reads
    with MongoClient[dict[str, Any]](mongodb_url) as client:
        database = client.get_default_database()
        for command in list(reads):
            if command.get("pipeline", [{}])[-1:] == [{"$collStats": {}}] or "count" in command:
                assert not command.get("query"), "the number of all documents is metadata"
                continue
            explained = database.command({"explain": command, "verbosity": "queryPlanner"})
            found = [one["stage"] for one in stages(list(winning_plans(explained)))]
            text = json.dumps([command, found], default=str)
            assert "COLLSCAN" not in found, text
            assert may_sort or "SORT" not in found, text
            assert found, text


@pytest.mark.gen_test
async def test_sums_of_the_ledger_read_an_index_only(
    service: Service, mongodb_url: str, reads: list[dict[str, Any]]
) -> None:
    await fill(service)
    await service.administration.overviews.of_last(30)
    both = [one for one in reads if one.get("aggregate") == "ledger"]
    # They are sent at once, in any order.
    corrections, sums = sorted(both, key=lambda one: "correction" not in str(one["pipeline"][0]))
    with MongoClient[dict[str, Any]](mongodb_url) as client:
        database = client.get_default_database()
        explained = database.command({"explain": sums, "verbosity": "executionStats"})
        of_corrections = database.command({"explain": corrections, "verbosity": "executionStats"})
    found = {one["stage"] for one in stages(list(winning_plans(explained)))}
    assert "FETCH" not in found, json.dumps(explained, default=str)
    # Their rows are read, but only theirs.
    found = {one["stage"] for one in stages(list(winning_plans(of_corrections)))}
    assert {"IXSCAN", "FETCH"} <= found, json.dumps(of_corrections, default=str)
    assert "COLLSCAN" not in found
