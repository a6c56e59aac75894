"""The command `serve`, run in a process with environment variables and signals."""

import asyncio
import signal
from collections.abc import Callable
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from tornado.httpclient import HTTPError

from datalayer_stripe import __version__
from datalayer_stripe.cli.main import main
from datalayer_stripe.sandbox import Sandbox
from tests.support.app import ACCOUNT, Api, json_of, recorded
from tests.support.command import complete, run_command
from tests.support.database import DRIVER
from tests.support.serving import HeldStripe, serve
from tests.support.shop import Shop


@pytest.mark.gen_test
async def test_serve_answers_requests_and_finishes_them_after_sigterm(
    mongodb_url: str,
    sandbox: Sandbox,
    shop: Shop,
    bearer: Callable[..., str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with serve(complete(mongodb_url, sandbox, shop), bearer) as serving:
        api = serving.api
        assert (await api.request("GET", "/readyz")).code == 200
        answer = await api.deliver(recorded("payment_intent.succeeded"))
        assert json_of(answer)["outcome"] == "processed"
        assert await api.credits() == 50

        stripe = HeldStripe(monkeypatch)
        slow = asyncio.create_task(api.get("/api/iam/stripe/v1/topup/prices"))
        await in_flight(api, 2)  # the slow request, and the one for the metrics
        serving.process.send_signal(signal.SIGTERM)
        await serving.line("shutting down")
        assert not slow.done()
        stripe.released.set()
        assert (await slow).code == 200, "a running request is finished"
        assert await serving.wait() == 0

    listening = next(line for line in serving.lines if line["message"] == "listening")
    assert listening["event_loop"] == ("uvloop" if find_spec("uvloop") else "asyncio")
    assert listening["mongodb_driver"] == DRIVER
    delivery = next(line for line in serving.lines if line["message"] == "delivery")
    assert delivery["request_id"] == answer.headers["X-Request-Id"]
    assert delivery["event_id"] == "evt_1xNnthCz7hWRKLEp3Wi6nFpx"
    assert delivery["account_uid"] == ACCOUNT
    assert delivery["outcome"] == "processed"


async def in_flight(api: Api, requests: int) -> None:
    """Wait until the service has this number of requests in flight."""
    wanted = f"datalayer_stripe_requests_in_flight {requests}.0"
    while wanted not in (await api.request("GET", "/metrics")).body.decode():
        pass


@pytest.mark.parametrize("processes", ["1", "2"])
@pytest.mark.gen_test
async def test_operators_have_an_address_of_their_own(
    mongodb_url: str, sandbox: Sandbox, shop: Shop, bearer: Callable[..., str], processes: str
) -> None:
    variables = complete(mongodb_url, sandbox, shop)
    variables["DATALAYER_STRIPE_METRICS_ADDRESS"] = "127.0.0.1:0"
    async with serve(variables, bearer, "--processes", processes) as serving:
        api = serving.api
        url = (await serving.line("listening"))["operations_url"]
        operations = Api(int(url.rpartition(":")[2]), api.service, bearer)
        assert (await api.request("GET", "/metrics")).code == 404
        for path in ("/healthz", "/readyz"):
            assert (await api.request("GET", path)).code == 200
            assert (await operations.request("GET", path)).code == 200
        for path in ("/api/iam/v1/usage/credits", "/api/iam/stripe/v1/webhook", "/checkout"):
            answer = await operations.http.fetch(operations.url + path, raise_error=False)
            assert answer.code == 404, "it is on the public port only"

        reader, writer = await asyncio.open_connection("127.0.0.1", api.url.rpartition(":")[2])
        writer.write(HALF_A_DELIVERY)
        await in_flight(operations, 2)  # the delivery, and the request for the metrics
        serving.process.send_signal(signal.SIGTERM)
        await serving.line("shutting down")
        assert (await problems(operations)) == {"service": "shutting down"}
        writer.write(b"}")
        assert b" 400 " in await reader.readline()
        assert await serving.wait() == 0
        writer.close()
        operations.http.close()


HALF_A_DELIVERY = (
    b"POST /api/iam/stripe/v1/webhook HTTP/1.1\r\nHost: shop\r\nStripe-Signature: t=1,v1=00\r\n"
    b"Content-Length: 2\r\n\r\n{"
)


async def problems(operations: Api) -> Any:
    """Return the problems of a process that is not ready, as soon as one says so."""
    while True:
        # Another process, which had nothing to finish, may just have ended.
        with suppress(OSError, HTTPError):
            answer = await operations.request("GET", "/readyz")
            if answer.code == 503:
                return json_of(answer)["problems"]


@pytest.mark.parametrize("processes", ["1", "2"])
@pytest.mark.gen_test
async def test_serve_prints_one_line_if_the_address_for_operators_is_in_use(
    sandbox: Sandbox, shop: Shop, mongodb_url: str, processes: str
) -> None:
    address = sandbox.url.removeprefix("http://")
    variables = complete(mongodb_url, sandbox, shop)
    variables["DATALAYER_STRIPE_METRICS_ADDRESS"] = address
    arguments = ("serve", "--port", "0", "--processes", processes)
    code, _, err = await run_command(*arguments, variables=variables)
    assert code == 2
    assert err.splitlines()[-1] == (
        f"Cannot listen on {address}: Address already in use. "
        "Set another port in DATALAYER_STRIPE_METRICS_ADDRESS."
    )


@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0"])
@pytest.mark.gen_test
async def test_serve_refuses_its_own_address_as_that_for_operators(
    sandbox: Sandbox, shop: Shop, mongodb_url: str, host: str
) -> None:
    variables = complete(mongodb_url, sandbox, shop)
    variables["DATALAYER_STRIPE_METRICS_ADDRESS"] = "127.0.0.1:9700"
    code, _, err = await run_command("serve", "--host", host, variables=variables)
    assert (code, err) == (
        2,
        "DATALAYER_STRIPE_METRICS_ADDRESS has the port of the service itself, 9700. Set another "
        "port in it, or choose another --port.\n",
    )


@pytest.mark.gen_test
async def test_serve_prints_one_line_for_each_missing_setting() -> None:
    code, _, err = await run_command("serve")
    *lines, _, hint = err.splitlines()
    assert code == 2
    assert ". ./datalayer-stripe.env" in hint
    named = [line.split(":")[0] for line in lines]
    assert named == [
        "DATALAYER_STRIPE_API_KEY",
        "DATALAYER_STRIPE_JS_API_KEY",
        "DATALAYER_STRIPE_TOPUP_PRODUCT_ID",
        "DATALAYER_STRIPE_SUBSCRIPTION_PRODUCT_ID",
        "DATALAYER_STRIPE_WEBHOOK_SECRET",
        "DATALAYER_STRIPE_CUST_PORTAL_ID",
        "DATALAYER_STRIPE_CUST_PORTAL_URL",
        "DATALAYER_JWT_SECRET",
    ]
    assert all("https://dashboard.stripe.com/" in line for line in lines[:-1])


@pytest.mark.gen_test
async def test_serve_prints_one_line_if_the_port_is_in_use(
    sandbox: Sandbox, shop: Shop, mongodb_url: str
) -> None:
    port = sandbox.url.rsplit(":", 1)[1]
    variables = complete(mongodb_url, sandbox, shop)
    code, _, err = await run_command("serve", "--port", port, variables=variables)
    lines = err.splitlines()
    assert code == 2
    assert "--port" in lines[-1]
    assert not any("Traceback" in line for line in lines)


@pytest.mark.gen_test
async def test_serve_prints_one_line_if_the_database_is_unreachable(
    sandbox: Sandbox, shop: Shop
) -> None:
    url = "mongodb://u:hunter2@127.0.0.1:9/?serverSelectionTimeoutMS=100"
    code, _, err = await run_command("serve", variables=complete(url, sandbox, shop))
    lines = err.splitlines()
    assert code == 2
    assert "DATALAYER_STRIPE_MONGODB_URL" in lines[-1]
    assert not any("hunter2" in line for line in lines)


@pytest.mark.parametrize("arguments", [["--help"], ["serve", "--help"], ["plugins", "--help"]])
def test_help_is_printed(arguments: list[str]) -> None:
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 0
    assert "Usage:" in result.output


def test_version_and_plugins_are_printed_without_settings() -> None:
    runner = CliRunner()
    assert __version__ in runner.invoke(main, ["--version"]).output
    listed = runner.invoke(main, ["plugins", "list"]).output
    assert "top-up-credits" in listed
    assert "payment_intent.succeeded" in listed


@pytest.mark.parametrize("host", ["203.0.113.7", "no-such-host.invalid", "a" * 300])
@pytest.mark.gen_test
async def test_serve_prints_one_line_if_the_address_cannot_be_bound(
    sandbox: Sandbox, shop: Shop, mongodb_url: str, host: str
) -> None:
    variables = complete(mongodb_url, sandbox, shop)
    code, _, err = await run_command("serve", "--host", host, "--port", "0", variables=variables)
    assert code == 2
    last = err.splitlines()[-1]
    assert last.startswith(f"Cannot listen on {host}:0: ")
    assert last.endswith(". Choose an --host of this machine.")
    assert "Traceback" not in err


@pytest.mark.parametrize(
    ("text", "cause"),
    [
        ("version = [", "Invalid value"),
        ("version = 1\n[handlers.h]\nclass = 'no.such.Handler'\n", "Cannot resolve"),
        ("version = 2\n", "Unsupported version: 2"),
        ("", "dictionary doesn't specify a version"),
    ],
)
def test_serve_prints_one_line_if_the_log_configuration_is_wrong(
    tmp_path: Path, text: str, cause: str
) -> None:
    path = tmp_path / "logging.toml"
    path.write_text(text, encoding="utf-8")
    answer = CliRunner().invoke(main, ["serve", "--log-config", str(path)])
    assert answer.exit_code == 2
    [line] = answer.output.splitlines()
    assert line.startswith(f"--log-config {path}: {cause}")
    assert "conf/logging.toml" in line
