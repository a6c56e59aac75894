"""Start and stop of the extension, also without settings or database."""

import asyncio
import re
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from pymongo import MongoClient

from datalayer_stripe.composition import open_service
from datalayer_stripe.configuration import Configuration
from datalayer_stripe.errors import NotConfigured, PluginError, Starting, StoreError, Unavailable
from datalayer_stripe.handlers.app_state import AppState
from datalayer_stripe.jupyter import lifecycle
from datalayer_stripe.jupyter.lifecycle import BackgroundService
from datalayer_stripe.metrics import Metrics
from datalayer_stripe.plugin_api.registry import Registry
from datalayer_stripe.service import Service
from datalayer_stripe.settings import Settings
from tests.jupyter.conftest import Stripe
from tests.support.app import ACCOUNT, recorded, sign
from tests.support.jupyter import TOKEN, WEBHOOK, JupyterServer

pytestmark = pytest.mark.slow

DOCUMENT = Path(__file__).parents[2] / "docs" / "jupyter.md"
CREDITS = "/api/iam/v1/usage/credits"
STREAM = "/api/iam/stripe/v1/stream"


def documented_config() -> str:
    """Return the example in docs/jupyter.md that sets the name of the server's owner."""
    blocks = re.findall(r"^```python\n(.*?)^```", DOCUMENT.read_text(encoding="utf-8"), re.M | re.S)
    return next(block for block in blocks if "identity_provider_class" in block)


@pytest.mark.mongod
def test_extension_works_with_mongod_and_stops_cleanly(
    tmp_path: Path, stripe: Stripe, mongodb_url: str
) -> None:
    config = documented_config().replace("01JCZ3W8Q6T5N4M2K1H0G9F8E7", ACCOUNT)
    with JupyterServer(tmp_path, stripe.variables(mongodb_url), config) as server:
        server.wait_until_open()
        assert server.get(CREDITS).status == 401
        assert server.get("/checkout").status == 302
        body = recorded("payment_intent.succeeded")
        answer = server.request(
            "POST", WEBHOOK, body=body, headers={"Stripe-Signature": sign(body)}
        )
        assert answer.json["outcome"] == "processed"
        assert server.get(CREDITS, token=TOKEN).json["credits"]["credits"] == 50

        lines: list[bytes] = []
        started = threading.Event()
        reader = threading.Thread(target=lambda: lines.extend(server.lines(STREAM, started.set)))
        reader.start()
        assert started.wait(10)
        assert server.terminate() == 0
        reader.join(10)
        assert b"event: balance" in lines
        assert not reader.is_alive()

    assert "generates a user name" not in server.log
    for text in ("Traceback", "Requests were still running", "never retrieved"):
        assert text not in server.log
    with MongoClient[dict[str, Any]](mongodb_url) as client:
        database = client.get_default_database()
        assert database.accounts.find_one({"_id": ACCOUNT})["credits"] == 50
        assert (
            database.service.find_one({"_id": "lease-reconcile"}) is None
        )  # the first reconciliation is due in an hour


def test_server_works_without_settings(tmp_path: Path) -> None:
    with JupyterServer(tmp_path, {}) as server:
        for path in (CREDITS, "/checkout", "/api/iam/stripe/healthz"):
            answer = server.get(path, token=TOKEN)
            assert (answer.status, answer.code) == (503, "not_configured"), path
            assert int(answer.headers["Retry-After"]) > 0
        body = recorded("payment_intent.succeeded")
        delivered = server.request(
            "POST", WEBHOOK, body=body, headers={"Stripe-Signature": sign(body)}
        )
        assert (delivered.status, delivered.code) == (503, "not_configured")
        assert server.get("/api/contents", token=TOKEN).status == 200
        first_page = server.get("/")
        assert first_page.status == 200
        assert b"Buy credits" not in first_page.body
        assert server.terminate() == 0
    warnings = [line for line in server.log.splitlines() if "DatalayerStripe]" in line]
    [warning] = [line for line in warnings if line.startswith("[W ")]
    missing = re.findall(r"(DATALAYER_\w+) is missing", warning)
    assert len(missing) == 7
    assert "DATALAYER_STRIPE_API_KEY" in missing
    assert "DATALAYER_JWT_SECRET" not in missing
    assert "docs/jupyter.md" in warning
    assert "Traceback" not in server.log


def test_server_works_without_database(tmp_path: Path, stripe: Stripe) -> None:
    variables = stripe.variables("mongodb://me:hunter2@127.0.0.1:9/?serverSelectionTimeoutMS=100")
    with JupyterServer(tmp_path, variables) as server:
        server.wait_for(lambda: "DATALAYER_STRIPE_MONGODB_URL" in server.log)
        answer = server.get(CREDITS, token=TOKEN)
        assert (answer.status, answer.code) == (503, "starting")
        assert int(answer.headers["Retry-After"]) > 0
        assert server.get("/api/contents", token=TOKEN).status == 200
        assert server.terminate() == 0
    assert server.log.count("DATALAYER_STRIPE_MONGODB_URL") == 1
    assert "hunter2" not in server.log
    assert "Traceback" not in server.log


PLUGIN = """
from datalayer_stripe import Context, Event, LifespanContext, Plugin

plugin = Plugin("mailer")


@plugin.lifespan
async def connect(lifespan: LifespanContext):
    lifespan.log.info("the mailer is ready")
    yield
    lifespan.log.info("the mailer has ended")


@plugin.on("payment_intent.succeeded", deferred=True)
async def mail(event: Event, ctx: Context) -> None:
    ctx.log.info("mailed")
"""


def test_plugins_start_run_and_stop_with_the_server(tmp_path: Path, stripe: Stripe) -> None:
    folder = tmp_path / "plugins"
    folder.mkdir()
    (folder / "mailer.py").write_text(PLUGIN, encoding="utf-8")
    variables = {**stripe.variables(), "DATALAYER_STRIPE_PLUGINS_DIR": str(folder)}
    with JupyterServer(tmp_path, variables) as server:
        server.wait_until_open()
        assert "the mailer is ready" in server.log
        body = recorded("payment_intent.succeeded")
        delivered = server.request(
            "POST", WEBHOOK, body=body, headers={"Stripe-Signature": sign(body)}
        )
        assert delivered.json["outcome"] == "processed"
        server.wait_for(lambda: "mailed" in server.log)
        assert server.terminate() == 0
    assert server.log.count("the mailer has ended") == 1


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("import nothing_of_that_name", "nothing_of_that_name"),
        (
            PLUGIN.replace("    yield", "    raise OSError\n    yield"),
            "cannot start: OSError",
        ),
    ],
    ids=["cannot be loaded", "cannot start"],
)
def test_server_works_with_broken_plugin(
    tmp_path: Path, stripe: Stripe, text: str, error: str
) -> None:
    folder = tmp_path / "plugins"
    folder.mkdir()
    (folder / "broken.py").write_text(text, encoding="utf-8")
    variables = {**stripe.variables(), "DATALAYER_STRIPE_PLUGINS_DIR": str(folder)}
    with JupyterServer(tmp_path, variables) as server:
        server.wait_for(lambda: server.get(CREDITS, token=TOKEN).code == "not_configured")
        assert error in server.log
        assert server.get("/api/contents", token=TOKEN).status == 200
        assert server.terminate() == 0


# Tests in this process, for cases that are slow or rare in a real server.


@pytest.fixture
def app_state() -> AppState:
    return AppState(Metrics(), base_url="/user/x/", identity_kind="cookie")


@pytest.fixture
def configuration(settings: Settings) -> Configuration:
    return Configuration(settings, Registry([]), {})


@pytest.fixture
def short_backoff(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    monkeypatch.setattr(lifecycle, "INITIAL_BACKOFF_SECONDS", 0.01)
    return monkeypatch


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not condition():  # noqa: ASYNC110 (a log or another object has no event)
            await asyncio.sleep(0)


def has_service(app_state: AppState) -> bool:
    try:
        return bool(app_state.service)
    except Unavailable:
        return False


@pytest.mark.gen_test
async def test_service_opens_when_database_is_back(
    app_state: AppState,
    configuration: Configuration,
    short_backoff: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    failures: list[Exception] = [StoreError("away"), StoreError("away"), ValueError("odd")]

    async def open_later(*arguments: Any, **options: Any) -> Service:
        if failures:
            raise failures.pop(0)
        return await open_service(*arguments, **options)

    short_backoff.setattr(lifecycle, "open_service", open_later)
    background_service = BackgroundService(app_state, configuration)
    background_service.start()
    with pytest.raises(Starting):
        _ = app_state.service
    await until(lambda: has_service(app_state))
    assert app_state.service.metrics is app_state.metrics
    assert [record.getMessage() for record in caplog.records].count(
        "away The server retries until the database works."
    ) == 1
    await background_service.stop()
    with pytest.raises(Unavailable):
        _ = app_state.service


@pytest.mark.gen_test
async def test_start_error_is_logged_and_not_retried(
    app_state: AppState,
    configuration: Configuration,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def refuse(*_: Any, **__: Any) -> Service:
        raise PluginError("a plugin is registered twice")

    monkeypatch.setattr(lifecycle, "open_service", refuse)
    background_service = BackgroundService(app_state, configuration)
    background_service.start()
    await until(lambda: "a plugin is registered twice" in caplog.text)
    with pytest.raises(NotConfigured):
        _ = app_state.service
    await background_service.stop()


@pytest.mark.gen_test
async def test_service_stops_while_it_is_opening(
    app_state: AppState, configuration: Configuration, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def hang(*_: Any, **__: Any) -> Service:
        await asyncio.Event().wait()
        raise AssertionError

    monkeypatch.setattr(lifecycle, "open_service", hang)
    background_service = BackgroundService(app_state, configuration)
    background_service.start()
    await asyncio.sleep(0)
    async with asyncio.timeout(60):
        await background_service.stop()


@pytest.mark.gen_test
@pytest.mark.parametrize("database", ["answers", "does not answer"])
async def test_service_stops_although_its_cancellation_is_lost(
    app_state: AppState,
    configuration: Configuration,
    monkeypatch: pytest.MonkeyPatch,
    database: str,
) -> None:
    async def lose_cancellation(*arguments: Any, **options: Any) -> Service:
        with suppress(asyncio.CancelledError):
            await asyncio.Event().wait()
        if database == "answers":
            return await open_service(*arguments, **options)
        raise StoreError("away")

    monkeypatch.setattr(lifecycle, "open_service", lose_cancellation)
    background_service = BackgroundService(app_state, configuration)
    background_service.start()
    await asyncio.sleep(0)
    async with asyncio.timeout(60):
        await background_service.stop()


@pytest.mark.gen_test
async def test_failed_close_does_not_block_shutdown_of_server(
    app_state: AppState,
    configuration: Configuration,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def fail(_: Service) -> None:
        raise OSError

    background_service = BackgroundService(app_state, configuration)
    background_service.start()
    await until(lambda: has_service(app_state))
    service, close = app_state.service, Service.close
    monkeypatch.setattr(Service, "close", fail)
    await background_service.stop()
    assert "did not close cleanly" in caplog.text
    await close(service)


@pytest.mark.gen_test
async def test_unexpected_error_is_logged_and_does_not_block_shutdown_of_server(
    app_state: AppState,
    configuration: Configuration,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def fail(_: Service) -> None:
        raise OSError

    monkeypatch.setattr(Service, "start", fail)
    background_service = BackgroundService(app_state, configuration)
    background_service.start()
    await until(lambda: "stopped because" in caplog.text)
    with pytest.raises(Unavailable) as unavailable:
        _ = app_state.service
    assert not isinstance(unavailable.value, Starting)
    await background_service.stop()


@pytest.mark.gen_test
async def test_reconciliation_runs_while_service_is_open(
    app_state: AppState, configuration: Configuration, monkeypatch: pytest.MonkeyPatch
) -> None:
    entered: list[str] = []

    class Periodic:
        def __init__(self, service: Service) -> None:
            assert service is app_state.service

        @asynccontextmanager
        async def running(self) -> AsyncIterator[None]:
            entered.append("started")
            try:
                yield
            finally:
                entered.append("ended")

    def periodic_reconciliation(service: Service) -> Periodic:
        return Periodic(service)

    monkeypatch.setattr(Service, "periodic_reconciliation", periodic_reconciliation)
    background_service = BackgroundService(app_state, configuration)
    background_service.start()
    await until(lambda: entered == ["started"])
    await background_service.stop()
    assert entered == ["started", "ended"]
