"""What a delivery reads before its plugins run, and what happens at its deadline."""

import asyncio
import json
import logging
from collections import Counter
from collections.abc import Sequence

import pytest

from datalayer_stripe import Context, Event, Plugin, Reject
from datalayer_stripe.errors import StoreUnavailable
from datalayer_stripe.service import Service
from datalayer_stripe.webhooks import delivery
from tests.support.app import Api, json_of, recorded
from tests.support.commands import CommandCounter
from tests.support.shop import rows

TYPES = {"recorder": "payout.paid", "caller": "payout.failed", "both": "payout.created"}


def event(name: str) -> bytes:
    """Return an event on which the recorder, the caller or both of them run."""
    body = json.loads(recorded("price.created"))
    return json.dumps({**body, "type": TYPES[name], "id": f"evt_{name}"}).encode()


class Plugins:
    """A plugin that only records, and one that could call another service."""

    def __init__(self) -> None:
        self.runs: Counter[str] = Counter()
        self.rejects = False
        self.goes_on = asyncio.Event()
        self.goes_on.set()
        self.recorder = Plugin("recorder", order=1, only_records=True)
        self.caller = Plugin("caller", order=2)
        self.recorder.on(TYPES["recorder"], TYPES["both"])(self._record)
        self.caller.on(TYPES["caller"], TYPES["both"])(self._call)

    async def _record(self, event: Event, ctx: Context) -> None:
        self.runs["recorder"] += 1
        if self.rejects:
            raise Reject("no longer")

    async def _call(self, event: Event, ctx: Context) -> None:
        self.runs["caller"] += 1
        await self.goes_on.wait()


@pytest.fixture
def plugins() -> Plugins:
    return Plugins()


@pytest.fixture
def extra_plugins(plugins: Plugins) -> Sequence[Plugin]:
    return [plugins.recorder, plugins.caller]


async def outcome(api: Api, name: str) -> str:
    answer = await api.deliver(event(name))
    assert answer.code == 200
    return str(json_of(answer)["outcome"])


# Reads


@pytest.mark.mongod
@pytest.mark.gen_test
async def test_plugin_that_only_records_runs_without_a_read_and_its_commit_finds_duplicates(
    api: Api, plugins: Plugins, commands: CommandCounter
) -> None:
    commands.clear()
    assert await outcome(api, "recorder") == "processed"
    assert commands.names == ["insert", "commitTransaction"]
    commands.clear()
    assert await outcome(api, "recorder") == "duplicate"
    assert commands.names == ["insert", "abortTransaction", "find"]
    assert plugins.runs["recorder"] == 2


@pytest.mark.mongod
@pytest.mark.gen_test
async def test_plugin_that_does_more_than_record_is_not_run_on_a_duplicate(
    api: Api, plugins: Plugins, commands: CommandCounter
) -> None:
    assert await outcome(api, "caller") == "processed"
    commands.clear()
    assert await outcome(api, "caller") == "duplicate"
    assert commands.names == ["find"]
    assert plugins.runs["caller"] == 1


@pytest.mark.mongod
@pytest.mark.gen_test
async def test_later_stage_is_read_after_the_stage_that_only_records(
    api: Api, service: Service, plugins: Plugins
) -> None:
    assert await outcome(api, "both") == "processed"
    assert await outcome(api, "both") == "duplicate"
    assert plugins.runs == {"recorder": 2, "caller": 1}
    [stored] = await rows(service, "events")
    assert {name: run["attempts"] for name, run in stored["handlers"].items()} == {
        "recorder": 1,
        "caller": 1,
    }


@pytest.mark.mongod
@pytest.mark.gen_test
async def test_rejection_of_an_event_that_is_done_is_a_duplicate(
    api: Api, service: Service, plugins: Plugins
) -> None:
    assert await outcome(api, "recorder") == "processed"
    before = await rows(service, "events")
    plugins.rejects = True
    assert await outcome(api, "recorder") == "duplicate"
    assert await rows(service, "events") == before


# Deadline


async def unavailable(*_: object) -> None:
    raise StoreUnavailable


@pytest.mark.parametrize("store_fails", [False, True])
@pytest.mark.gen_test
async def test_late_delivery_is_answered_503_once_and_its_end_is_logged_once(
    api: Api,
    service: Service,
    plugins: Plugins,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    store_fails: bool,
) -> None:
    caplog.set_level(logging.INFO)
    monkeypatch.setattr(delivery, "ANSWER_DEADLINE_SECONDS", 0.1)
    plugins.goes_on.clear()
    answer = await api.deliver(event("caller"))
    assert (answer.code, json_of(answer)["code"]) == (503, "delivery_failed")
    if store_fails:
        monkeypatch.setattr(service.store, "commit", unavailable)
    plugins.goes_on.set()
    await service.deliveries.idle()
    answered, end = [one for one in caplog.records if one.message.startswith("delivery")]
    assert (answered.status, answered.code) == (503, "delivery_failed")
    assert end.message == ("delivery failed after its deadline" if store_fails else "delivery")
    assert store_fails or (end.late, end.outcome) == (True, "processed")
    assert not [one for one in caplog.records if one.levelno >= logging.ERROR], "no plugin failed"
