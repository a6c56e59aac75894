"""Plugins are isolated: whatever one does, the credits of its event are added once and in time."""

import asyncio
import json
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

import pytest

from datalayer_stripe import Context, Event, Plugin, Reject, Retry
from datalayer_stripe.errors import PluginSignal
from datalayer_stripe.service import Service
from datalayer_stripe.webhooks import delivery
from tests.support.app import Api, json_of, recorded
from tests.support.shop import rows

# Some of what these tests start goes on after them for a while, so each has a database of its own.
pytestmark = [pytest.mark.mongod, pytest.mark.usefixtures("mongodb_url")]

PAID = recorded("payment_intent.succeeded")
LIMIT = 0.3

Misdeed = Callable[[Event, Context], Awaitable[object]]


async def behaves(event: Event, ctx: Context) -> object:
    ctx.collection.insert_one({"_id": event.id})
    return None


async def sleeps(event: Event, ctx: Context) -> object:
    await asyncio.sleep(3600)
    return None


async def raises(event: Event, ctx: Context) -> object:
    raise RuntimeError("a bug, and somebody's data")


async def writes_then_raises(event: Event, ctx: Context) -> object:
    ctx.collection.insert_one({"_id": event.id})
    raise KeyError(event.id)


async def returns_garbage(event: Event, ctx: Context) -> object:
    ctx.collection.insert_one({"_id": event.id})
    return {"ok": True}


async def forgets_to_await(event: Event, ctx: Context) -> object:
    return asyncio.sleep(0)


async def ends_the_process(event: Event, ctx: Context) -> object:
    raise SystemExit(3)


async def raises_cancelled_error(event: Event, ctx: Context) -> object:
    raise asyncio.CancelledError


async def cancels_its_own_task(event: Event, ctx: Context) -> object:
    task = asyncio.current_task()
    assert task is not None
    task.cancel()
    return await asyncio.sleep(0)


async def raises_what_is_no_exception(event: Event, ctx: Context) -> object:
    raise BaseException("odd")


async def swallows_cancellation(event: Event, ctx: Context) -> object:
    for _ in range(20):
        with suppress(asyncio.CancelledError):
            await asyncio.sleep(0.2)
    return None


MISDEEDS: dict[Misdeed, str] = {
    sleeps: "it took longer than 0.3 s",
    raises: "RuntimeError at test_isolation.py:",
    writes_then_raises: "KeyError at test_isolation.py:",
    returns_garbage: "it returned dict, and a plugin returns nothing",
    forgets_to_await: "it returned coroutine, and a plugin returns nothing",
    ends_the_process: "it raised SystemExit",
    raises_cancelled_error: "it raised CancelledError",
    cancels_its_own_task: "it cancelled its own task",
    raises_what_is_no_exception: "it raised BaseException",
    swallows_cancellation: "it took longer than 0.3 s",
}


class Bad:
    """A plugin whose misbehaviour the test sets, with the lowest order."""

    def __init__(self) -> None:
        self.does: Misdeed | None = None
        self.plugin = Plugin("bad", order=-1000, timeout=LIMIT)

        @self.plugin.on("payment_intent.succeeded")
        async def misbehave(event: Event, ctx: Context) -> None:
            return await (self.does or behaves)(event, ctx)  # type: ignore[return-value]


class Good:
    """A plugin of the same order as the bad one, which records when it ran."""

    def __init__(self) -> None:
        self.ran_at: list[float] = []
        self.plugin = Plugin("good", order=-1000)

        @self.plugin.on("payment_intent.succeeded")
        async def note(event: Event, ctx: Context) -> None:
            self.ran_at.append(time.monotonic())
            ctx.collection.insert_one({"_id": event.id})


@pytest.fixture
def bad() -> Bad:
    return Bad()


@pytest.fixture
def good() -> Good:
    return Good()


@pytest.fixture
def extra_plugins(bad: Bad, good: Good) -> list[Plugin]:
    return [bad.plugin, good.plugin]


@pytest.mark.parametrize("misdeed", MISDEEDS, ids=lambda misdeed: misdeed.__name__)
@pytest.mark.gen_test
async def test_misbehaving_plugin_does_not_affect_the_other_plugins(
    api: Api, service: Service, bad: Bad, misdeed: Misdeed
) -> None:
    bad.does = misdeed
    for attempt in (1, 2):
        answer = await api.deliver(PAID)
        assert (answer.code, json_of(answer)["code"]) == (503, "delivery_failed")
        assert answer.request_time < LIMIT + 3, "a plugin that goes on is abandoned"
        [event] = await rows(service, "events")
        runs = event["handlers"]
        assert (runs["bad"]["status"], runs["bad"]["attempts"]) == ("failed", attempt)
        assert runs["bad"]["error"].startswith(MISDEEDS[misdeed])
        assert "somebody's data" not in str(event["handlers"])
        assert {runs[name]["status"] for name in ("good", "top-up-credits")} == {"done"}
        assert {runs[name]["attempts"] for name in ("good", "top-up-credits")} == {1}
        assert await api.credits() == 50
        assert await rows(service, "plugin_bad") == []

    bad.does = None
    assert json_of(await api.deliver(PAID))["outcome"] == "processed"
    assert len(await rows(service, "plugin_bad")) == len(await rows(service, "plugin_good")) == 1
    assert await api.credits() == 50


@pytest.mark.parametrize("signal", [Retry, Reject])
@pytest.mark.parametrize(
    "reason", ["\ud800", {"not": "a text"}, "x" * 20_000_000], ids=["half", "object", "long"]
)
@pytest.mark.gen_test
async def test_any_reason_of_a_rejection_can_be_stored(
    api: Api, service: Service, bad: Bad, signal: type[PluginSignal], reason: Any
) -> None:
    async def gives_a_reason(event: Event, ctx: Context) -> object:
        raise signal(reason)

    bad.does = gives_a_reason
    answer = await api.deliver(PAID)
    assert answer.code == (503 if signal is Retry else 200)
    [event] = await rows(service, "events")
    kept = event["handlers"]["bad"]["error"]
    assert kept[:5] in ("?", "{'not", "xxxxx")
    assert len(kept) <= 1000


@pytest.mark.gen_test
async def test_credits_are_committed_before_other_plugins_run_whatever_their_order(
    api: Api, service: Service, bad: Bad
) -> None:
    begun, release = asyncio.Event(), asyncio.Event()

    async def waits(event: Event, ctx: Context) -> object:
        begun.set()
        await release.wait()
        return None

    bad.does = waits
    answer = asyncio.create_task(api.deliver(PAID))
    await begun.wait()
    assert await api.credits() == 50
    release.set()
    await answer


@pytest.mark.gen_test
async def test_sleeping_plugin_does_not_delay_plugins_of_the_same_order(
    api: Api, bad: Bad, good: Good
) -> None:
    bad.does = sleeps
    answer = await api.deliver(PAID)
    assert answer.code == 503
    assert time.monotonic() - good.ran_at[0] > LIMIT * 0.9, "it ran while the other slept"


@pytest.mark.gen_test
async def test_delivery_is_answered_by_its_deadline_when_a_plugin_swallows_cancellation(
    api: Api, service: Service, bad: Bad, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(delivery, "ANSWER_DEADLINE_SECONDS", 0.2)
    bad.does = swallows_cancellation
    answer = await api.deliver(PAID)
    assert (answer.code, json_of(answer)["code"]) == (503, "delivery_failed")
    await service.deliveries.idle()
    [event] = await rows(service, "events")
    assert event["failed"] == ["bad"]
    assert service.metrics.registry.get_sample_value("datalayer_stripe_deliveries_in_flight") == 0


@pytest.mark.gen_test
async def test_cancelled_delivery_cancels_its_plugin(service: Service, bad: Bad) -> None:
    begun, cancelled = asyncio.Event(), asyncio.Event()

    async def waits(event: Event, ctx: Context) -> object:
        begun.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.set()
            raise
        return None

    bad.does = waits
    event = Event.model_validate(json.loads(PAID))
    work = asyncio.create_task(service.processor.process(event))
    await begun.wait()
    work.cancel()
    with pytest.raises(asyncio.CancelledError):
        await work
    await cancelled.wait()
    [kept] = await rows(service, "events")
    assert "bad" not in kept["handlers"], "a cancelled plugin has not failed"
