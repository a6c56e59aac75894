"""The command `serve --processes`: several processes on one port, on a real MongoDB."""

import asyncio
import json
import os
import shutil
import signal
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families
from pymongo import MongoClient
from tornado.httpclient import HTTPError, HTTPResponse

from datalayer_stripe.cli.supervised_process import MAX_BACKOFF, MIN_BACKOFF, backoff_after
from datalayer_stripe.sandbox import Sandbox
from tests.handlers.stream_reader import open_stream
from tests.support.app import Api, json_of, recorded
from tests.support.command import complete, run_command
from tests.support.serving import HeldStripe, Serving
from tests.support.serving import serve as serve_command
from tests.support.shop import Shop

PROCESSES = 2
WAIT_TIMEOUT = 120.0
PAID = recorded("payment_intent.succeeded")
IN_FLIGHT = "datalayer_stripe_requests_in_flight"
DELIVERIES = "datalayer_stripe_deliveries_total"

pytestmark = [pytest.mark.mongod, pytest.mark.slow]

# It cannot start while there is a file `broken` beside it.
PLUGIN = """
from pathlib import Path
from datalayer_stripe import Plugin

BROKEN = Path(__file__).with_name("broken")
plugin = Plugin("watcher")

@plugin.lifespan
async def lifespan(context):
    if BROKEN.exists():
        raise RuntimeError("broken")
    yield context.metrics.gauge("level", "A level.")

@plugin.on("payment_intent.succeeded")
async def watch(event, ctx):
    ctx.metrics.counter("seen", "Events seen.").inc()
    ctx.state.set(1)
"""

DEFERRED_PLUGIN = """
from datalayer_stripe import Plugin

plugin = Plugin("mailer")

@plugin.on("payment_intent.succeeded", deferred=True)
async def mail(event, ctx):
    pass
"""


@pytest.fixture
def variables(mongodb_url: str, sandbox: Sandbox, shop: Shop, tmp_path: Path) -> dict[str, str]:
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    plugins = tmp_path / "plugins"
    plugins.mkdir(mode=0o700)
    (plugins / "watcher.py").write_text(PLUGIN, encoding="utf-8")
    (plugins / "mailer.py").write_text(DEFERRED_PLUGIN, encoding="utf-8")
    return {
        **complete(mongodb_url, sandbox, shop),
        "DATALAYER_STRIPE_PLUGINS_DIR": str(plugins),
        "TMPDIR": str(temporary),
    }


def temporary_files(variables: dict[str, str]) -> list[str]:
    return os.listdir(variables["TMPDIR"])


def break_plugin(variables: dict[str, str]) -> Path:
    """Let the plugin fail at its start, until the returned file is removed."""
    broken = Path(variables["DATALAYER_STRIPE_PLUGINS_DIR"], "broken")
    broken.touch()
    return broken


@asynccontextmanager
async def serve(variables: dict[str, str], bearer: Callable[..., str]) -> AsyncIterator[Serving]:
    async with serve_command(variables, bearer, "--processes", str(PROCESSES)) as serving:
        yield serving


def pid_of(serving: Serving, number: int) -> int:
    """Return the id of the process that has this number now."""
    lines = [
        one
        for one in serving.lines
        if one["message"] == "process listens" and one["process_number"] == number
    ]
    return int(lines[-1]["pid"])


async def samples(api: Api) -> dict[tuple[str, str], float]:
    """Return the exported values by name and labels."""
    text = (await api.request("GET", "/metrics")).body.decode()
    return {
        (one.name, json.dumps(one.labels, sort_keys=True)): one.value
        for family in text_string_to_metric_families(text)
        for one in family.samples
    }


async def metric(api: Api, name: str, **labels: str) -> float | None:
    """Return one value, or None if there is no such series."""
    return (await samples(api)).get((name, json.dumps(labels, sort_keys=True)))


async def wait_for_checks(serving: Any) -> None:
    """Wait until the checks at the start have ended, whose calls to Stripe are counted."""

    async def have_ended() -> bool:
        return any(line["message"].startswith("doctor: ") for line in serving.lines)

    await wait_until(have_ended, "the checks at the start do not end")


async def wait_until(condition: Callable[[], Any], what: str) -> None:
    """Wait until an asynchronous function returns true."""
    try:
        async with asyncio.timeout(WAIT_TIMEOUT):
            while not await condition():  # noqa: ASYNC110 (other processes set it)
                await asyncio.sleep(0.02)
    except TimeoutError:
        raise AssertionError(what) from None


async def wait_for_metric(api: Api, value: float, name: str, **labels: str) -> None:
    """Wait until a value is exported: each process caches its answer for a second."""

    async def is_exported() -> bool:
        return await metric(api, name, **labels) == value

    await wait_until(is_exported, f"{name} {labels} is not {value}")


@pytest.mark.gen_test
async def test_process_is_replaced_when_the_folder_of_the_metrics_was_deleted(
    variables: dict[str, str], bearer: Callable[..., str]
) -> None:
    async with serve(variables, bearer) as serving:
        [folder] = temporary_files(variables)
        shutil.rmtree(Path(variables["TMPDIR"], folder))
        await kill_and_wait_for_replacement(serving, 1)
        assert temporary_files(variables) == [folder]


async def kill_and_wait_for_replacement(serving: Serving, number: int) -> None:
    """Kill a process, and wait until its replacement listens."""
    os.kill(pid_of(serving, number), signal.SIGKILL)
    ended = await serving.line("process ended and is replaced", process_number=number)
    assert ended["exit_code"] == -signal.SIGKILL
    after = serving.lines.index(ended)
    await serving.line("process listens", process_number=number, after=after)


def number_of(serving: Serving, answer: HTTPResponse) -> int | None:
    """Return the number of the process that has answered, once its log line has been read."""
    for line in serving.lines:
        if line.get("request_id") == answer.headers["X-Request-Id"]:
            return int(line["process_number"])
    return None


async def delivered_by_each(serving: Serving) -> int:
    """Deliver one event until each process has answered; return the number of deliveries."""
    numbers: set[int] = set()
    deliveries = 0
    while numbers != set(range(1, PROCESSES + 1)):
        answer = await serving.api.deliver(PAID)
        assert answer.code == 200
        deliveries += 1
        await serving.line("delivery", request_id=answer.headers["X-Request-Id"])
        numbers.add(number_of(serving, answer) or 0)
    return deliveries


def event(number: int) -> bytes:
    """Return a paid top-up with an event and a payment of its own."""
    fields = json.loads(PAID)
    payment = fields["data"]["object"]
    fields["id"] = f"evt_{number}"
    payment["id"] = f"pi_{number}"
    return json.dumps(fields).encode()


def send_sigterm(serving: Serving) -> None:
    serving.process.send_signal(signal.SIGTERM)


def press_ctrl_c(serving: Serving) -> None:
    """Signal the process group of the command, as a terminal does."""
    groups = {os.getpgid(pid_of(serving, number)) for number in range(1, PROCESSES + 1)}
    assert serving.process.pid not in groups, "a process would get this signal and SIGTERM"
    os.killpg(serving.process.pid, signal.SIGINT)


@pytest.mark.parametrize("end", [send_sigterm, press_ctrl_c])
@pytest.mark.gen_test
async def test_processes_share_the_port_and_end_after_running_requests(
    variables: dict[str, str],
    bearer: Callable[..., str],
    monkeypatch: pytest.MonkeyPatch,
    end: Callable[[Serving], None],
) -> None:
    async with serve(variables, bearer) as serving:
        assert json_of(await serving.api.request("GET", "/readyz"))["status"] == "ready"
        await delivered_by_each(serving)
        assert await serving.api.credits() == 50

        stripe = HeldStripe(monkeypatch)
        slow = asyncio.create_task(serving.api.get("/api/iam/stripe/v1/topup/prices"))
        await wait_for_metric(serving.api, 2, IN_FLIGHT)  # and the request for the metrics
        end(serving)
        for number in range(1, PROCESSES + 1):
            await serving.line("shutting down", process_number=number)
        assert not slow.done()
        stripe.released.set()
        assert (await slow).code == 200, "a running request is finished"
        assert await serving.wait() == 0
    [listening] = [line for line in serving.lines if line["message"] == "listening"]
    assert listening["processes"] == PROCESSES
    assert not temporary_files(variables), "the folder of the metrics is removed"


@pytest.fixture
def short_transactions(mongodb_url: str) -> Iterator[None]:
    """Let the server end the transactions that a killed process has left after 3 s, not 60 s."""
    name = "transactionLifetimeLimitSeconds"
    with MongoClient[dict[str, Any]](mongodb_url) as client:
        before = client.admin.command("getParameter", 1, **{name: 1})[name]
        client.admin.command("setParameter", 1, **{name: 3})
        yield
        client.admin.command("setParameter", 1, **{name: before})


@pytest.mark.usefixtures("short_transactions")
@pytest.mark.gen_test
async def test_killed_process_is_replaced_and_deliveries_go_on(
    variables: dict[str, str], bearer: Callable[..., str]
) -> None:
    events = [event(number) for number in range(200)]
    async with serve(variables, bearer) as serving:
        api = serving.api

        async def deliver(body: bytes) -> None:
            async def accepted() -> bool:
                try:
                    return (await api.deliver(body)).code == 200
                except (OSError, HTTPError):
                    return False  # the process was killed: Stripe delivers the event again

            await wait_until(accepted, "an event is not accepted")

        async def deliver_each(bodies: list[bytes]) -> None:
            for body in bodies:
                await deliver(body)

        senders = [asyncio.create_task(deliver_each(events[start::8])) for start in range(8)]
        for number in (1, 2):
            await serving.line("delivery", process_number=number)
            await kill_and_wait_for_replacement(serving, number)
        await asyncio.gather(*senders)
        assert await api.credits() == 50 * len(events), "none is lost and none is given twice"
        await delivered_by_each(serving)
        serving.process.send_signal(signal.SIGTERM)
        assert await serving.wait() == 0


@pytest.mark.gen_test
async def test_metrics_are_those_of_all_processes_and_survive_a_death(
    variables: dict[str, str], bearer: Callable[..., str]
) -> None:
    async with serve(variables, bearer) as serving:
        api = serving.api
        duplicate = {"type": "payment_intent.succeeded", "outcome": "duplicate"}
        deliveries = await delivered_by_each(serving)
        await wait_for_metric(api, deliveries - 1, DELIVERIES, **duplicate)
        await wait_for_metric(api, 50, "datalayer_stripe_credits_added_total")
        await wait_for_metric(api, 1, "datalayer_stripe_plugin_watcher_seen_total")
        job = {"plugin": "mailer", "outcome": "processed"}
        await wait_for_metric(api, 1, "datalayer_stripe_jobs_total", **job)
        await wait_for_metric(api, 0, "datalayer_stripe_jobs_waiting")

        async with open_stream(api) as reader:
            await reader.next()
            await wait_for_metric(api, 1, "datalayer_stripe_streams")
            for number in range(1, PROCESSES + 1):
                await kill_and_wait_for_replacement(serving, number)
        await wait_for_metric(api, 0, "datalayer_stripe_streams")
        await wait_for_metric(api, 1, IN_FLIGHT)  # the request for the metrics
        await wait_for_metric(api, deliveries - 1, DELIVERIES, **duplicate)
        deliveries += await delivered_by_each(serving)
        await wait_for_metric(api, deliveries - 1, DELIVERIES, **duplicate)


@pytest.mark.gen_test
async def test_several_processes_export_the_series_of_one(
    variables: dict[str, str], bearer: Callable[..., str]
) -> None:
    async with serve_command(variables, bearer) as serving:
        await wait_for_checks(serving)
        # prometheus-client does not export when a counter was created in multiprocess mode.
        expected = {key for key in await samples(serving.api) if not key[0].endswith("_created")}
    level = "datalayer_stripe_plugin_watcher_level"
    expected.remove((level, "{}"))
    of_processes = {name for name, _ in expected if name.startswith("process_")}
    assert of_processes or sys.platform != "linux"
    expected -= {(name, "{}") for name in of_processes}
    async with serve(variables, bearer) as serving:
        await wait_for_checks(serving)
        found = set(await samples(serving.api))
    by_process = {
        (name, json.dumps({"pid": str(one)})) for name in (level, *of_processes) for one in (1, 2)
    }
    assert found == expected | by_process


@pytest.mark.gen_test
async def test_change_of_one_process_reaches_the_streams_of_all(
    variables: dict[str, str], bearer: Callable[..., str]
) -> None:
    async with serve(variables, bearer) as serving:
        async with AsyncExitStack() as streams:
            readers = [
                await streams.enter_async_context(open_stream(serving.api)) for _ in range(12)
            ]
            for reader in readers:
                await reader.wait_for_balance(0)
            await serving.api.deliver(PAID)
            for reader in readers:
                await reader.wait_for_balance(50)
            serving.process.send_signal(signal.SIGTERM)
            assert await serving.wait() == 0
        requests = [line for line in serving.lines if line["message"] == "request"]
        streamed_by = {one["process_number"] for one in requests if one["path"].endswith("/stream")}
        assert streamed_by == {1, 2}


@pytest.mark.gen_test
async def test_process_that_cannot_start_is_started_again(
    variables: dict[str, str], bearer: Callable[..., str]
) -> None:
    async with serve(variables, bearer) as serving:
        broken = break_plugin(variables)
        os.kill(pid_of(serving, 1), signal.SIGKILL)
        line = await serving.line("process did not start and is started again", process_number=1)
        assert "watcher" in line["error"]
        assert (await serving.api.deliver(PAID)).code == 200, "the other process serves"
        os.unlink(broken)
        await serving.line("process listens", process_number=1, after=serving.lines.index(line))
        await delivered_by_each(serving)


@pytest.mark.gen_test
async def test_command_ends_with_one_message_if_no_process_can_start(
    variables: dict[str, str],
) -> None:
    break_plugin(variables)
    code, _, err = await run_command(
        "serve", "--port", "0", "--processes", "2", variables=variables
    )
    assert code == 2
    [message] = [line for line in err.splitlines() if line[0] != "{"]  # the others are the log
    assert message.startswith("Plugin watcher ")
    assert not temporary_files(variables)


@pytest.mark.gen_test
async def test_settings_errors_are_printed_once() -> None:
    single = await run_command("serve")
    assert await run_command("serve", "--processes", "2") == single


@pytest.mark.gen_test
async def test_memory_database_is_refused(variables: dict[str, str]) -> None:
    memory = {**variables, "DATALAYER_STRIPE_MONGODB_URL": "memory://"}
    code, _, err = await run_command("serve", "--processes", "2", variables=memory)
    assert code == 2
    assert "Use --processes 1" in err


@pytest.mark.gen_test
async def test_port_in_use_is_refused(
    variables: dict[str, str], bearer: Callable[..., str]
) -> None:
    async with serve(variables, bearer) as serving:
        port = serving.api.url.rsplit(":", 1)[1]
        code, _, err = await run_command(
            "serve", "--processes", "2", "--port", port, variables=variables
        )
        assert code == 2
        [line] = err.splitlines()
        assert "Choose another --port." in line


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.gen_test
async def test_second_signal_ends_all_at_once(
    variables: dict[str, str], bearer: Callable[..., str], sandbox: Sandbox, number: signal.Signals
) -> None:
    async with serve(variables, bearer) as serving:
        pids = [pid_of(serving, one) for one in (1, 2)]
        sandbox.api.delay(30.0)
        slow = asyncio.create_task(serving.api.get("/api/iam/stripe/v1/topup/prices"))
        await wait_for_metric(serving.api, 2, IN_FLIGHT)  # and the request for the metrics
        serving.process.send_signal(number)
        await serving.line("shutting down")
        serving.process.send_signal(number)
        assert await serving.wait() == -number
        for pid in pids:
            assert not is_running(pid)
        await asyncio.gather(slow, return_exceptions=True)
    assert not temporary_files(variables)


def is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.mark.gen_test
async def test_processes_end_with_a_killed_supervisor(
    variables: dict[str, str], bearer: Callable[..., str]
) -> None:
    async with serve(variables, bearer) as serving:
        pids = [pid_of(serving, one) for one in (1, 2)]
        serving.process.kill()
        await serving.wait()  # until no process has its stderr open

        async def all_ended() -> bool:
            return not any(is_running(pid) for pid in pids)

        await wait_until(all_ended, "a process goes on without its supervisor")
    assert not temporary_files(variables)


def test_backoff_doubles_up_to_a_maximum() -> None:
    pauses = [backoff_after(deaths) for deaths in (1, 2, 3, 100_000)]
    assert pauses == [MIN_BACKOFF, 2 * MIN_BACKOFF, 4 * MIN_BACKOFF, MAX_BACKOFF]
