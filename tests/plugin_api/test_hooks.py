"""Plugins start before the first event and stop after the last, and have figures of their own."""

import asyncio

import pytest

from datalayer_stripe import Context, Event, HookContext, Plugin
from datalayer_stripe.errors import PluginError, PluginFault
from datalayer_stripe.metrics import Metrics
from datalayer_stripe.plugin_api import hooks as lifecycle
from datalayer_stripe.plugin_api.registry import Registry
from datalayer_stripe.service import Service, open_service
from datalayer_stripe.settings import Settings
from tests.support.app import Api, json_of, recorded

PAID = recorded("payment_intent.succeeded")


class Diary:
    """Plugins that write down when they are started and stopped."""

    def __init__(self, *names: str) -> None:
        self.lines: list[str] = []
        self.plugins = {name: self._plugin(name) for name in names}

    def _plugin(self, name: str) -> Plugin:
        plugin = Plugin(name)

        @plugin.on_start
        async def start(hook: HookContext) -> None:
            assert hook.settings is None
            assert hook.stripe is not None
            hook.log.info("starting")
            self.lines.append(f"start {name}")

        @plugin.on_stop
        async def stop(hook: HookContext) -> None:
            self.lines.append(f"stop {name}")

        return plugin

    async def service(self, settings: Settings, *others: Plugin) -> Service:
        registry = Registry([*self.plugins.values(), *others])
        return await open_service(settings, registry=registry)


@pytest.mark.gen_test
async def test_they_start_in_order_and_stop_the_other_way_round(settings: Settings) -> None:
    diary = Diary("b", "a", "c")
    service = await diary.service(settings)
    assert diary.lines == [], "a command that only looks starts nothing"
    await service.start()
    assert diary.lines == ["start a", "start b", "start c"]
    await service.close()
    assert diary.lines[3:] == ["stop c", "stop b", "stop a"]


@pytest.mark.gen_test
async def test_what_was_not_started_is_not_stopped(settings: Settings) -> None:
    diary = Diary("a")
    await (await diary.service(settings)).close()
    assert diary.lines == []


@pytest.mark.parametrize("how", ["raises", "hangs", "exits", "returns"])
@pytest.mark.gen_test
async def test_one_that_cannot_start_ends_the_start_and_is_named(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    monkeypatch.setattr(lifecycle, "START_SECONDS", 0.1)
    bad = Plugin("bad", order=200)

    @bad.on_start
    async def start(hook: HookContext) -> object:
        match how:
            case "raises":
                raise ConnectionError("password hunter2 was refused")
            case "hangs":
                await asyncio.sleep(60)
            case "exits":
                raise SystemExit
        return "ready"

    diary = Diary("a")
    service = await diary.service(settings, bad)
    with pytest.raises(PluginError, match=r"Plugin bad \(code\) cannot start: ") as error:
        await service.start()
    assert "DATALAYER_STRIPE_PLUGINS_DISABLED=bad" in str(error.value)
    assert "hunter2" not in str(error.value)
    await service.close()
    assert diary.lines == ["start a", "stop a"]


@pytest.mark.gen_test
async def test_one_that_cannot_stop_is_logged_and_keeps_no_other_from_it(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(lifecycle, "STOP_SECONDS", 0.1)
    hangs, raises = Plugin("hangs", order=200), Plugin("raises", order=201)

    @hangs.on_stop
    async def hang(hook: HookContext) -> None:
        await asyncio.sleep(60)

    @raises.on_stop
    async def fail(hook: HookContext) -> None:
        raise RuntimeError

    diary = Diary("a")
    service = await diary.service(settings, hangs, raises)
    await service.start()
    await service.close()
    assert diary.lines == ["start a", "stop a"]
    failed = [one.plugin for one in caplog.records if one.message == "on_stop failed"]  # type: ignore[attr-defined]
    assert failed == ["raises", "hangs"]


def test_a_plugin_has_each_hook_once_async_and_in_time() -> None:
    plugin = Plugin("a")

    async def hook(_: HookContext) -> None: ...

    def no_coroutine(_: HookContext) -> None: ...

    plugin.on_start(hook)
    plugin.on_stop(hook)
    for decorate in (plugin.on_start, plugin.on_stop):
        with pytest.raises(PluginError, match="has such a hook already"):
            decorate(hook)
        with pytest.raises(PluginError, match="async def"):
            decorate(no_coroutine)  # type: ignore[arg-type]
    late = Plugin("b")
    Registry([late])
    with pytest.raises(PluginError, match="too late"):
        late.on_start(hook)


# Switched off, and it moves money


@pytest.mark.gen_test
async def test_money_that_is_not_moved_is_said_loudly(
    settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    registry = Registry.load(disabled=("top-up-credits", "catalog-changed"))
    service = await open_service(settings, registry=registry)
    await service.start()
    await service.close()
    [line] = [one for one in caplog.records if "switched off" in one.message]
    assert line.levelname == "WARNING"
    assert "top-up-credits" in line.message
    assert "NOT DONE" in line.message


@pytest.mark.gen_test
async def test_readiness_warns_of_money_that_is_not_moved(
    api: Api, service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    off = Registry.load(disabled=("top-up-credits",)).disabled
    monkeypatch.setattr(service.registry, "disabled", off)
    answer = await api.get("/readyz", account=None)
    assert answer.code == 200
    assert json_of(answer)["warnings"] == {
        "plugins": "switched off, and they move money: top-up-credits"
    }


# Figures


COUNTER = Plugin("bulk-mailer")


@COUNTER.on("payment_intent.succeeded")
async def count(event: Event, ctx: Context) -> None:
    ctx.metrics.counter("mails", "Mails sent.").inc()
    ctx.metrics.counter("bytes", "Bytes sent.", ["kind"]).labels("text").inc(7)
    ctx.metrics.gauge("queue", "Mails that wait.").set(3)
    ctx.metrics.histogram("seconds", "Time.", buckets=(1, 2)).observe(1.5)
    raise RuntimeError  # so that it runs again


@pytest.mark.gen_test
async def test_a_plugin_s_figures_are_counted_at_each_run(settings: Settings) -> None:
    service = await open_service(settings, registry=Registry([COUNTER]))
    for _ in range(2):
        await service.deliveries.process(Event.model_validate_json(PAID))
    shown = service.metrics.exposition().decode()
    prefix = "datalayer_stripe_plugin_bulk_mailer_"
    assert f"# HELP {prefix}mails_total Mails sent." in shown
    assert f"{prefix}mails_total 2.0" in shown
    assert f'{prefix}bytes_total{{kind="text"}} 14.0' in shown
    assert f"{prefix}queue 3.0" in shown
    assert f'{prefix}seconds_bucket{{le="2.0"}} 2.0' in shown
    await service.close()


def test_a_metric_keeps_its_kind_and_its_labels() -> None:
    metrics = Metrics().of_plugin("a")
    first = metrics.counter("n", "N.", ["kind"])
    assert metrics.counter("n", "N.", ["kind"]) is first
    for again in (
        lambda: metrics.gauge("n", "N.", ["kind"]),
        lambda: metrics.counter("n", "N."),
        lambda: metrics.counter("Not a name", "N."),
    ):
        with pytest.raises(PluginFault):
            again()
