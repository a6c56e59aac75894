"""Plugins open their lifespans before the first event, and close them after the last."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from datalayer_stripe import Context, Event, LifespanContext, Plugin
from datalayer_stripe.composition import open_service
from datalayer_stripe.errors import PluginError, PluginFault
from datalayer_stripe.metrics import Metrics
from datalayer_stripe.plugin_api import isolation, lifespan
from datalayer_stripe.plugin_api.registry import Registry
from datalayer_stripe.service import Service
from datalayer_stripe.settings import Settings
from tests.support.app import Api, json_of, recorded

PAID = recorded("payment_intent.succeeded")


class RecordingPlugins:
    """Plugins that record when their lifespans are opened and closed."""

    def __init__(self, *names: str) -> None:
        self.lines: list[str] = []
        self.plugins = {name: self._plugin(name) for name in names}

    def _plugin(self, name: str) -> Plugin:
        plugin = Plugin(name)

        @plugin.lifespan
        async def run(ctx: LifespanContext) -> AsyncIterator[None]:
            assert ctx.settings is None
            assert ctx.stripe is not None
            ctx.log.info("starting")
            self.lines.append(f"start {name}")
            yield
            self.lines.append(f"stop {name}")

        return plugin

    async def service(self, settings: Settings, *others: Plugin) -> Service:
        registry = Registry([*self.plugins.values(), *others])
        return await open_service(settings, registry=registry)


@pytest.mark.gen_test
async def test_lifespans_open_in_order_and_close_in_reverse_order(settings: Settings) -> None:
    recording = RecordingPlugins("b", "a", "c")
    service = await recording.service(settings)
    assert recording.lines == [], "a command that runs no plugin opens no lifespan"
    await service.start()
    assert recording.lines == ["start a", "start b", "start c"]
    await service.close()
    assert recording.lines[3:] == ["stop c", "stop b", "stop a"]


@pytest.mark.gen_test
async def test_lifespan_that_was_not_opened_is_not_closed(settings: Settings) -> None:
    recording = RecordingPlugins("a")
    await (await recording.service(settings)).close()
    assert recording.lines == []


@pytest.mark.gen_test
async def test_run_reads_what_its_own_lifespan_yielded(settings: Settings) -> None:
    client, seen = object(), []
    plugin, other = Plugin("with-client"), Plugin("without")

    @plugin.lifespan
    async def open_client(_: LifespanContext) -> AsyncIterator[object]:
        yield client

    for one in (plugin, other):

        @one.on("payment_intent.succeeded")
        async def look(_: Event, ctx: Context) -> None:
            seen.append(ctx.state)

    service = await open_service(settings, registry=Registry([plugin, other]))
    await service.start()
    await service.processor.process(Event.model_validate_json(PAID))
    await service.close()
    assert len(seen) == 2
    assert client in seen
    assert None in seen


@pytest.mark.gen_test
async def test_lifespan_is_entered_and_exited_in_one_task(settings: Settings) -> None:
    plugin, tasks = Plugin("a"), []

    @plugin.lifespan
    async def run(_: LifespanContext) -> AsyncIterator[None]:
        async with asyncio.TaskGroup(), asyncio.timeout(60):  # fail where the task is another
            tasks.append(asyncio.current_task())
            yield
            tasks.append(asyncio.current_task())

    service = await open_service(settings, registry=Registry([plugin]))
    await service.start()
    await service.close()
    assert len(tasks) == 2
    assert tasks[0] is tasks[1]


@pytest.mark.parametrize("how", ["raises", "hangs", "exits", "yields nothing"])
@pytest.mark.gen_test
async def test_service_does_not_start_when_a_lifespan_fails_to_open(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    monkeypatch.setattr(lifespan, "START_SECONDS", 0.1)
    bad, closed = Plugin("bad", order=200), []

    @bad.lifespan
    async def run(_: LifespanContext) -> AsyncIterator[None]:
        try:
            match how:
                case "raises":
                    raise ConnectionError("password hunter2 was refused")
                case "hangs":
                    await asyncio.sleep(60)
                case "exits":
                    raise SystemExit
                case _:
                    return
            yield
        finally:
            closed.append("bad")

    recording = RecordingPlugins("a")
    service = await recording.service(settings, bad)
    with pytest.raises(PluginError, match=r"Plugin bad \(code\) cannot start: ") as error:
        await service.start()
    assert "DATALAYER_STRIPE_PLUGINS_DISABLED=bad" in str(error.value)
    assert "hunter2" not in str(error.value)
    assert closed == ["bad"], "it can close what it has opened"
    await service.close()
    assert recording.lines == ["start a", "stop a"]


@pytest.mark.gen_test
async def test_service_does_not_start_when_a_lifespan_has_the_wrong_parameters(
    settings: Settings,
) -> None:
    bad = Plugin("bad")

    @bad.lifespan  # type: ignore[arg-type]
    async def run() -> AsyncIterator[None]:
        yield

    service = await open_service(settings, registry=Registry([bad]))
    with pytest.raises(PluginError, match=r"Plugin bad \(code\) cannot start: TypeError"):
        await service.start()
    await service.close()


@pytest.mark.gen_test
async def test_lifespan_that_yields_nothing_is_named_as_such(settings: Settings) -> None:
    bad = Plugin("bad")

    @bad.lifespan
    async def run(_: LifespanContext) -> AsyncIterator[None]:
        return
        yield

    service = await open_service(settings, registry=Registry([bad]))
    with pytest.raises(PluginError, match="its lifespan ended before it yielded"):
        await service.start()
    await service.close()


@pytest.mark.gen_test
async def test_lifespan_that_yields_twice_is_reported_when_the_service_stops(
    settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    bad, closed = Plugin("bad"), []

    @bad.lifespan
    async def run(_: LifespanContext) -> AsyncIterator[None]:
        try:
            yield
            yield
        finally:
            closed.append("bad")

    service = await open_service(settings, registry=Registry([bad]))
    await service.start()
    await service.close()
    assert closed == ["bad"]
    assert "plugin cannot stop" in caplog.messages
    assert "its lifespan yielded more than once" in caplog.text


@pytest.mark.gen_test
async def test_lifespan_that_goes_on_after_its_cancellation_is_abandoned(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lifespan, "START_SECONDS", 0.05)
    monkeypatch.setattr(isolation, "GRACE_SECONDS", 0.05)
    stubborn, released = Plugin("stubborn"), asyncio.Event()

    @stubborn.lifespan
    async def run(_: LifespanContext) -> AsyncIterator[None]:
        while not released.is_set():
            try:
                await released.wait()
            except asyncio.CancelledError:
                continue
        yield

    service = await open_service(settings, registry=Registry([stubborn]))
    with pytest.raises(PluginError, match="it took longer than"):
        await service.start()
    released.set()
    await service.close()


@pytest.mark.gen_test
async def test_lifespan_that_opens_after_its_time_limit_is_closed(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lifespan, "START_SECONDS", 0.05)
    monkeypatch.setattr(isolation, "GRACE_SECONDS", 0.05)
    stubborn, released, closed = Plugin("stubborn"), asyncio.Event(), asyncio.Event()

    @stubborn.lifespan
    async def run(_: LifespanContext) -> AsyncIterator[None]:
        while not released.is_set():
            try:
                await released.wait()
            except asyncio.CancelledError:
                continue
        yield
        closed.set()

    service = await open_service(settings, registry=Registry([stubborn]))
    with pytest.raises(PluginError, match="it took longer than"):
        await service.start()
    released.set()
    await closed.wait()
    await service.close()


@pytest.mark.gen_test
async def test_cancelled_start_closes_the_lifespan_that_is_opening(settings: Settings) -> None:
    plugin, opening, lines = Plugin("a"), asyncio.Event(), []

    @plugin.lifespan
    async def run(_: LifespanContext) -> AsyncIterator[None]:
        try:
            opening.set()
            await asyncio.Event().wait()
            yield
        finally:
            lines.append("closed")

    service = await open_service(settings, registry=Registry([plugin]))
    start = asyncio.create_task(service.start())
    await opening.wait()
    start.cancel()
    with pytest.raises(asyncio.CancelledError):
        await start
    assert lines == ["closed"]
    await service.close()


@pytest.mark.gen_test
async def test_lifespan_that_ends_while_the_service_runs_is_logged_at_once(
    settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    plugin, failing, ended = Plugin("a"), asyncio.Event(), asyncio.Event()

    @plugin.lifespan
    async def run(_: LifespanContext) -> AsyncIterator[None]:
        async def fail() -> None:
            await failing.wait()
            raise ConnectionError

        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(fail())
                yield
        finally:
            ended.set()

    service = await open_service(settings, registry=Registry([plugin]))
    await service.start()
    failing.set()
    await ended.wait()
    while not (lines := [one for one in caplog.records if "lifespan ended" in one.message]):  # noqa: ASYNC110
        await asyncio.sleep(0)
    [line] = lines
    assert (line.levelname, line.plugin) == ("ERROR", "a")  # type: ignore[attr-defined]
    await service.close()
    assert "plugin cannot stop" not in caplog.messages


@pytest.mark.gen_test
async def test_lifespan_that_fails_to_close_is_logged_and_the_others_close(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(lifespan, "STOP_SECONDS", 0.1)
    hangs, raises = Plugin("hangs", order=200), Plugin("raises", order=201)

    @hangs.lifespan
    async def hang(_: LifespanContext) -> AsyncIterator[None]:
        yield
        await asyncio.sleep(60)

    @raises.lifespan
    async def fail(_: LifespanContext) -> AsyncIterator[None]:
        yield
        raise RuntimeError

    recording = RecordingPlugins("a")
    service = await recording.service(settings, hangs, raises)
    await service.start()
    await service.close()
    assert recording.lines == ["start a", "stop a"]
    failed = [one.plugin for one in caplog.records if one.message == "plugin cannot stop"]  # type: ignore[attr-defined]
    assert failed == ["raises", "hangs"]


def test_plugin_has_one_lifespan_which_yields_and_is_defined_before_the_start() -> None:
    plugin = Plugin("a")

    async def run(_: LifespanContext) -> AsyncIterator[None]:
        yield

    async def no_generator(_: LifespanContext) -> None: ...

    plugin.lifespan(run)
    with pytest.raises(PluginError, match="has a lifespan already"):
        plugin.lifespan(run)
    with pytest.raises(PluginError, match="one `yield`"):
        plugin.lifespan(no_generator)  # type: ignore[arg-type]
    late = Plugin("b")
    Registry([late])
    with pytest.raises(PluginError, match="before the service starts"):
        late.lifespan(run)


# Disabled plugins that move money


@pytest.mark.gen_test
async def test_disabled_money_plugin_is_logged_as_a_warning(
    settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    registry = Registry.load(disabled=("top-up-credits", "catalog-changed"))
    service = await open_service(settings, registry=registry)
    await service.start()
    await service.close()
    [line] = [one for one in caplog.records if "is disabled" in one.message]
    assert line.levelname == "WARNING"
    assert "top-up-credits" in line.message
    assert "NOT added" in line.message


@pytest.mark.gen_test
async def test_readyz_warns_of_a_disabled_money_plugin(
    api: Api, service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    off = Registry.load(disabled=("top-up-credits",)).disabled
    monkeypatch.setattr(service.registry, "disabled", off)
    answer = await api.get("/readyz", account=None)
    assert answer.code == 200
    assert json_of(answer)["warnings"] == {
        "plugins": "these plugins move money and are disabled: top-up-credits"
    }


# Metrics


COUNTER = Plugin("bulk-mailer")


@COUNTER.on("payment_intent.succeeded")
async def count(event: Event, ctx: Context) -> None:
    ctx.metrics.counter("mails", "Mails sent.").inc()
    ctx.metrics.counter("bytes", "Bytes sent.", ["kind"]).labels("text").inc(7)
    ctx.metrics.gauge("queue", "Mails that wait.").set(3)
    ctx.metrics.histogram("seconds", "Time.", buckets=(1, 2)).observe(1.5)
    raise RuntimeError  # so that it runs again


@pytest.mark.gen_test
async def test_plugin_metrics_are_counted_at_each_run(settings: Settings) -> None:
    service = await open_service(settings, registry=Registry([COUNTER]))
    for _ in range(2):
        await service.processor.process(Event.model_validate_json(PAID))
    shown = service.metrics.exposition().decode()
    prefix = "datalayer_stripe_plugin_bulk_mailer_"
    assert f"# HELP {prefix}mails_total Mails sent." in shown
    assert f"{prefix}mails_total 2.0" in shown
    assert f'{prefix}bytes_total{{kind="text"}} 14.0' in shown
    assert f"{prefix}queue 3.0" in shown
    assert f'{prefix}seconds_bucket{{le="2.0"}} 2.0' in shown
    await service.close()


def test_metric_cannot_change_its_kind_or_labels() -> None:
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
