"""Traces that environment variables configure, and none without them."""

import asyncio
import subprocess
import sys
from collections.abc import Callable, Iterator

import pytest
from tornado.httpserver import HTTPServer
from tornado.ioloop import IOLoop
from tornado.testing import bind_unused_port
from tornado.web import Application, RequestHandler

from datalayer_stripe import __version__
from datalayer_stripe.sandbox import Sandbox
from datalayer_stripe.tracing import NO_TRACER, tracing
from datalayer_stripe.tracing.environment import is_configured
from tests.support.app import UNREACHABLE_URL, WEBHOOK_SECRET, changed, recorded
from tests.support.command import complete, environment
from tests.support.serving import serve
from tests.support.shop import Shop

PAID = recorded("payment_intent.succeeded")
PRICES = "/api/iam/stripe/v1/topup/prices"
STRANGE_TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"

IMPORTS = """
import asyncio, sys
import datalayer_stripe.cli.serve_process, datalayer_stripe.jupyter.extension
from datalayer_stripe.tracing import tracing, NO_TRACER

async def main():
    async with tracing() as tracer:
        assert tracer is NO_TRACER

asyncio.run(main())
print([name for name in sys.modules if name.startswith("opentelemetry")])
"""


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({}, False),
        ({"OTEL_SERVICE_NAME": "credits"}, False),
        ({"OTEL_TRACES_EXPORTER": "none", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://c"}, False),
        ({"OTEL_TRACES_EXPORTER": "console"}, True),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c"}, True),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://c"}, True),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": " "}, False),
        ({"OTEL_TRACES_EXPORTER": "otlp", "OTEL_SDK_DISABLED": "True"}, False),
    ],
)
def test_traces_need_an_exporter_or_an_endpoint(variables: dict[str, str], expected: bool) -> None:
    assert is_configured(variables) is expected


def test_opentelemetry_is_not_imported_without_configuration() -> None:
    done = subprocess.run(
        [sys.executable, "-c", IMPORTS],
        env=environment(OTEL_SERVICE_NAME="credits"),
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "[]\n"


@pytest.mark.gen_test
async def test_service_runs_without_traces_if_the_extra_is_missing(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("OTEL_TRACES_EXPORTER", "console")
    monkeypatch.setitem(sys.modules, "datalayer_stripe.tracing.spans", None)
    async with tracing() as tracer:
        assert tracer is NO_TRACER
    [record] = caplog.records
    assert "datalayer-stripe[otel]" in record.getMessage()


@pytest.mark.gen_test
async def test_wrong_exporter_is_named_in_the_log_and_the_service_runs(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("OTEL_TRACES_EXPORTER", "otpl")
    for name in ("OTEL_EXPORTER_OTLP_PROTOCOL", "OTEL_SERVICE_NAME"):
        monkeypatch.setenv(name, "set at the start, and restored after the test")
    async with tracing() as tracer:
        assert tracer is NO_TRACER
    [record] = caplog.records
    assert "otpl" in record.__dict__["reason"]


class Collector:
    """A collector of OTLP over HTTP, which keeps the bodies that it receives."""

    def __init__(self) -> None:
        received = self.received = bytearray()

        class Traces(RequestHandler):
            def post(self) -> None:
                received.extend(self.request.body)

        self.server = HTTPServer(Application([("/v1/traces", Traces)]))
        listener, port = bind_unused_port()
        self.server.add_socket(listener)
        self.url = f"http://127.0.0.1:{port}"


@pytest.fixture
def collector(io_loop: IOLoop) -> Iterator[Collector]:
    async def start() -> Collector:
        return Collector()

    collector = io_loop.run_sync(start)
    yield collector
    collector.server.stop()
    io_loop.run_sync(collector.server.close_all_connections)


@pytest.mark.gen_test
async def test_serve_sends_its_spans_at_the_latest_when_it_ends(
    sandbox: Sandbox, shop: Shop, bearer: Callable[..., str], collector: Collector
) -> None:
    variables = complete("memory://", sandbox, shop) | {
        "OTEL_EXPORTER_OTLP_ENDPOINT": collector.url,
        "OTEL_BSP_SCHEDULE_DELAY": "3600000",
        "OTEL_RESOURCE_ATTRIBUTES": "deployment.environment=tests",
    }
    async with serve(variables, bearer) as serving:
        assert (await serving.api.deliver(PAID)).code == 200
        delivery = await serving.line("delivery")
        # Nobody but an operator chooses what is recorded.
        stranger = {"traceparent": f"00-{STRANGE_TRACE}-00f067aa0ba902b7-01"}
        assert (await serving.api.request("GET", PRICES, headers=stranger)).code == 401
        serving.process.terminate()
        assert await serving.wait() == 0
    for text in ("datalayer-stripe", __version__, "plugin top-up-credits", "tests"):
        assert text.encode() in collector.received
    assert bytes.fromhex(delivery["trace_id"]) in collector.received
    assert PRICES.encode() in collector.received
    assert bytes.fromhex(STRANGE_TRACE) not in collector.received
    assert WEBHOOK_SECRET.encode() not in collector.received


@pytest.mark.gen_test
async def test_collector_that_cannot_be_reached_costs_one_line_and_no_delivery(
    sandbox: Sandbox, shop: Shop, bearer: Callable[..., str]
) -> None:
    variables = complete("memory://", sandbox, shop) | {
        "OTEL_EXPORTER_OTLP_ENDPOINT": UNREACHABLE_URL,
        "OTEL_BSP_SCHEDULE_DELAY": "1",
        "OTEL_BSP_MAX_QUEUE_SIZE": "8",
        "OTEL_BSP_MAX_EXPORT_BATCH_SIZE": "8",
    }
    async with serve(variables, bearer) as serving:
        for _ in range(2):
            bodies = [changed(PAID) for _ in range(10)]
            answers = await asyncio.gather(*map(serving.api.deliver, bodies))
            assert {answer.code for answer in answers} == {200}
            await serving.line("message of OpenTelemetry")
        serving.process.terminate()
        assert await serving.wait() == 0
    reasons = [line["reason"] for line in serving.lines if "OpenTelemetry" in line["message"]]
    assert len(reasons) == len({reason.split()[0] for reason in reasons}), reasons
    assert any("Connection" in reason for reason in reasons)
