"""Reconciliation gives a newly installed plugin old events only if it has `catch_up=True`."""

import json
from collections.abc import Sequence
from datetime import datetime, timedelta

import pytest

from datalayer_stripe import Context, Event, Plugin
from datalayer_stripe.plugin_api.registry import Registry
from datalayer_stripe.reconciliation.findings import Finding
from datalayer_stripe.sandbox import Sandbox
from datalayer_stripe.sandbox.delivery.webhooks import Webhooks
from datalayer_stripe.service import Service
from tests.support.app import Clock
from tests.support.shop import Buyer

pytestmark = pytest.mark.mongod


class RecordingPlugins:
    """Two plugins, without and with `catch_up`, and the events that they got."""

    def __init__(self) -> None:
        self.fails = False
        self.seen: dict[str, list[str]] = {"mail": [], "report": []}
        self.plugins = [self._plugin("mail", False), self._plugin("report", True)]

    def _plugin(self, name: str, catch_up: bool) -> Plugin:
        plugin = Plugin(name, catch_up=catch_up)

        @plugin.on("payment_intent.succeeded")
        async def note(event: Event, ctx: Context) -> None:
            self.seen[name].append(event.id)
            if self.fails:
                raise RuntimeError("a bug")

        return plugin


@pytest.fixture
def recording_plugins() -> RecordingPlugins:
    return RecordingPlugins()


@pytest.fixture
def extra_plugins(recording_plugins: RecordingPlugins) -> Sequence[Plugin]:
    return recording_plugins.plugins


def payments(sandbox: Sandbox) -> list[str]:
    return [one["id"] for one in sandbox.events if one["type"] == "payment_intent.succeeded"]


async def reconcile(service: Service, clock: Clock, *, dry_run: bool = False) -> list[Finding]:
    found: list[Finding] = []
    run = service.reconciliation(on_finding=found.append, dry_run=dry_run)
    await run.run(clock() - timedelta(days=30))
    return found


async def seen_at(service: Service) -> dict[str, datetime]:
    return await service.store.first_seen.read()


@pytest.mark.gen_test
async def test_old_events_go_to_plugins_that_catch_up_only(
    buyer: Buyer,
    sandbox: Sandbox,
    webhooks: Webhooks,
    service: Service,
    clock: Clock,
    recording_plugins: RecordingPlugins,
) -> None:
    await buyer.subscribe()
    for seen in recording_plugins.seen.values():
        seen.clear()
    webhooks.drop(1000)
    known = set(payments(sandbox))
    await buyer.buy()
    [old] = set(payments(sandbox)) - known
    clock.advance(minutes=10)
    missing = {one.id: one.detail for one in await reconcile(service, clock, dry_run=True)}
    assert missing[old] == "payment_intent.succeeded: report, top-up-credits"
    assert await seen_at(service) == {}, "a dry run writes nothing"

    await reconcile(service, clock)
    assert await buyer.credits() == 50
    assert recording_plugins.seen == {"mail": [], "report": [old]}
    assert await reconcile(service, clock) == []

    clock.advance(minutes=1)
    await buyer.buy()
    [new] = set(payments(sandbox)) - known - {old}
    await reconcile(service, clock)
    assert recording_plugins.seen == {"mail": [new], "report": [old, new]}


@pytest.mark.gen_test
async def test_plugin_gets_old_event_that_it_has_attempted_before(
    buyer: Buyer,
    sandbox: Sandbox,
    webhooks: Webhooks,
    service: Service,
    clock: Clock,
    recording_plugins: RecordingPlugins,
) -> None:
    await buyer.subscribe()
    for seen in recording_plugins.seen.values():
        seen.clear()
    recording_plugins.fails = True
    webhooks.hold()
    await buyer.ask_to_buy()
    intent = await buyer.buy()
    [event] = [
        one
        for one in sandbox.events
        if one["type"] == "payment_intent.succeeded" and one["data"]["object"]["id"] == intent["id"]
    ]
    assert (await buyer.api.deliver(json.dumps(event).encode())).code == 503
    webhooks.drop(1000)
    clock.advance(minutes=10)
    recording_plugins.fails = False
    await reconcile(service, clock)
    assert recording_plugins.seen["mail"] == [event["id"]] * 2


@pytest.mark.gen_test
async def test_retry_of_failed_event_skips_plugin_installed_later(
    buyer: Buyer,
    sandbox: Sandbox,
    webhooks: Webhooks,
    service: Service,
    clock: Clock,
    recording_plugins: RecordingPlugins,
) -> None:
    await buyer.subscribe()
    for seen in recording_plugins.seen.values():
        seen.clear()
    webhooks.drop(1000)
    await buyer.buy()
    clock.advance(minutes=10)
    recording_plugins.fails = True
    found = await reconcile(service, clock)
    assert "failed" in {one.outcome for one in found}, "it was retried once"
    assert len(recording_plugins.seen["report"]) == 2
    assert recording_plugins.seen["mail"] == []


@pytest.mark.gen_test
async def test_first_seen_time_of_plugin_does_not_change(service: Service, clock: Clock) -> None:
    first_seen = service.store.first_seen
    await first_seen.note(["mail", "a-b"], clock())
    before = await first_seen.read()
    clock.advance(days=3)
    await first_seen.note(["mail", "report"], clock())
    after = await first_seen.read()
    assert (after["mail"], after["a-b"]) == (before["mail"], before["a-b"])
    assert after["report"] - after["mail"] >= timedelta(days=2)


@pytest.mark.gen_test
async def test_start_of_service_records_its_plugins(service: Service) -> None:
    await service.start()
    assert set(await seen_at(service)) == {plugin.name for plugin in service.registry.plugins}


def test_built_in_plugins_catch_up() -> None:
    assert [plugin.name for plugin in Registry.load().plugins if not plugin.catch_up] == []
