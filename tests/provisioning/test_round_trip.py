"""Signed test events to the webhook's URL, and what they find wrong."""

import asyncio
import json
import socket
import ssl
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from pydantic import SecretStr
from tornado.httpclient import AsyncHTTPClient, HTTPRequest
from tornado.httpserver import HTTPServer
from tornado.ioloop import IOLoop
from tornado.testing import bind_unused_port
from tornado.web import Application, RequestHandler

from datalayer_stripe.provisioning.delivery_problems import Problem, connection_problem
from datalayer_stripe.provisioning.round_trip import (
    TEST_EVENT_TYPE,
    Attempt,
    RoundTrip,
    wait_until_accepted,
)
from datalayer_stripe.service import Service
from tests.support.app import WEBHOOK_SECRET, Api
from tests.support.shop import WEBHOOK_ROUTE, kept

SECRET = SecretStr(WEBHOOK_SECRET)
OTHER_SECRET = SecretStr("whsec_anotherAnotherAnotherAnother")

Answer = Callable[[RequestHandler], None]


class Proxy(RequestHandler):
    """Forwards requests to the service, changed by `change`."""

    def initialize(self, target: str, change: Callable[[bytes], bytes]) -> None:
        self.target, self.change = target, change

    async def post(self) -> None:
        client = AsyncHTTPClient(force_instance=True)
        names = ("Stripe-Signature", "Content-Type")
        request = HTTPRequest(
            self.target,
            method="POST",
            body=self.change(self.request.body),
            headers={name: self.request.headers[name] for name in names},
        )
        answer = await client.fetch(request, raise_error=False)
        client.close()
        self.set_status(answer.code)
        self.finish(answer.body)


@pytest.fixture
def serve(io_loop: IOLoop) -> Iterator[Callable[..., str]]:
    """Return a function that starts a server and returns its URL."""
    servers: list[HTTPServer] = []

    def start(handler: type[RequestHandler], **arguments: object) -> str:
        listener, port = bind_unused_port()
        server = HTTPServer(Application([(".*", handler, arguments)]))
        server.add_socket(listener)
        servers.append(server)
        return f"http://127.0.0.1:{port}/hook"

    yield start
    for server in servers:
        server.stop()
        io_loop.run_sync(server.close_all_connections)


async def run(
    url: str, *secrets: SecretStr, livemode: bool = False, seconds: float = 20
) -> list[Attempt]:
    round_trip = RoundTrip(url, webhook_path=WEBHOOK_ROUTE, livemode=livemode, timeout=seconds)
    try:
        return await round_trip.run(secrets or [SECRET])
    finally:
        round_trip.close()


def problems(attempts: list[Attempt]) -> list[Problem | None]:
    return [one.problem for one in attempts]


@pytest.mark.gen_test
async def test_service_accepts_the_test_events_and_stores_nothing(
    api: Api, service: Service
) -> None:
    before = await kept(service)
    attempts = await run(api.url + WEBHOOK_ROUTE)
    assert problems(attempts) == [None, None, None]
    assert [one.status for one in attempts] == [200, 200, 200]
    assert all(one.seconds > 0 for one in attempts)
    assert await kept(service) == before
    assert TEST_EVENT_TYPE not in service.registry.types


@pytest.mark.gen_test
async def test_each_secret_is_tested(api: Api) -> None:
    attempts = await run(api.url + WEBHOOK_ROUTE, OTHER_SECRET, SECRET)
    assert problems(attempts) == [Problem.SIGNATURE, None, None, None]
    assert attempts[0].name == "test event, secret 1 of 2"
    assert "does not accept this signing secret" in attempts[0].explanation
    assert OTHER_SECRET.get_secret_value() not in attempts[0].explanation


@pytest.mark.gen_test
async def test_other_mode_is_told_from_a_wrong_secret(api: Api) -> None:
    [attempt] = await run(api.url + WEBHOOK_ROUTE, livemode=True)
    assert (attempt.status, attempt.problem) == (400, Problem.MODE)
    assert "has keys of test mode" in attempt.explanation


@pytest.mark.gen_test
async def test_wrong_clock_is_told_from_a_wrong_secret(api: Api, service: Service) -> None:
    service.clock.advance(minutes=-10)  # type: ignore[attr-defined]
    [attempt] = await run(api.url + WEBHOOK_ROUTE)
    assert attempt.problem is Problem.CLOCK


def compacted(body: bytes) -> bytes:
    """Write JSON as `JSON.stringify` does."""
    return json.dumps(json.loads(body), separators=(",", ":"), ensure_ascii=False).encode()


def indented(body: bytes) -> bytes:
    return json.dumps(json.loads(body), indent=4).encode()


def without_line_breaks(body: bytes) -> bytes:
    return body.replace(b"\n", b"")


@pytest.mark.parametrize(
    ("change", "found"),
    [
        (compacted, [None, Problem.CHANGED_BODY, Problem.CHANGED_BODY]),
        (without_line_breaks, [None, Problem.CHANGED_BODY, Problem.CHANGED_BODY]),
        (indented, [Problem.CHANGED_BODY]),
    ],
    ids=["compacted", "without line breaks", "indented"],
)
@pytest.mark.gen_test
async def test_proxy_that_changes_the_body_is_found(
    api: Api,
    serve: Callable[..., str],
    change: Callable[[bytes], bytes],
    found: list[Problem | None],
) -> None:
    attempts = await run(serve(Proxy, target=api.url + WEBHOOK_ROUTE, change=change))
    assert problems(attempts) == found
    assert "byte for byte" in attempts[-1].explanation


class Answers(RequestHandler):
    """Answers as the test says."""

    def initialize(self, answer: Answer) -> None:
        self.answer = answer

    def post(self) -> None:
        self.answer(self)


def status(code: int, body: str = "", **headers: str) -> Answer:
    def answer(handler: RequestHandler) -> None:
        handler.set_status(code)
        for name, value in headers.items():
            handler.set_header(name, value)
        handler.finish(body)

    return answer


@pytest.mark.parametrize(
    ("answer", "problem", "words"),
    [
        (status(308, Location="https://example.com/hook"), Problem.REDIRECT, "example.com/hook"),
        (status(302), Problem.REDIRECT, "redirects to another one"),
        (status(404), Problem.NOT_FOUND, "/api/iam/stripe/v1/webhook"),
        (status(405), Problem.NOT_FOUND, "no webhook"),
        (status(401), Problem.LOGIN, "Exempt the path"),
        (status(403, "<html>"), Problem.LOGIN, "Exempt the path"),
        (status(413), Problem.TOO_LARGE, "client_max_body_size"),
        (status(502), Problem.UNAVAILABLE, "/readyz"),
        (status(503, '{"code":"starting"}'), Problem.UNAVAILABLE, "/readyz"),
        (status(400, "Bad Request"), Problem.OTHER_SERVER, "not that of the service"),
        (status(200, "It works!"), Problem.OTHER_SERVER, "Another server"),
        (status(200, '{"received":true,"event":"evt_x"}'), Problem.OTHER_SERVER, "Another server"),
        (status(200, "x" * 100_000), Problem.CONNECTION, "Check"),
        (status(200, **{"X-Long": "x" * 200_000}), Problem.CONNECTION, "Check"),
    ],
)
@pytest.mark.gen_test
async def test_answer_of_another_server_is_explained(
    serve: Callable[..., str], answer: Answer, problem: Problem, words: str
) -> None:
    [attempt] = await run(serve(Answers, answer=answer))
    assert attempt.problem is problem
    assert words in attempt.explanation


@pytest.mark.gen_test
async def test_limit_of_a_proxy_on_the_body_is_found(api: Api, serve: Callable[..., str]) -> None:
    class Limited(Proxy):
        async def post(self) -> None:
            if len(self.request.body) > 100_000:
                self.set_status(413)
            else:
                await super().post()

    attempts = await run(serve(Limited, target=api.url + WEBHOOK_ROUTE, change=bytes))
    assert problems(attempts) == [None, None, Problem.TOO_LARGE]


@pytest.mark.gen_test
async def test_host_that_cannot_be_reached_is_explained(serve: Callable[..., str]) -> None:
    listener, port = bind_unused_port()
    listener.close()
    found = {
        f"http://127.0.0.1:{port}/": Problem.CONNECTION,
        "http://no-such-host.invalid/": Problem.DNS,
        serve(Answers, answer=status(200)).replace("http:", "https:"): Problem.TLS,
    }
    for url, problem in found.items():
        [attempt] = await run(url, seconds=2)
        assert (attempt.status, attempt.problem) == (None, problem), url
        assert attempt.explanation


@pytest.mark.gen_test
async def test_late_answer_is_a_timeout(io_loop: IOLoop, serve: Callable[..., str]) -> None:
    class Silent(RequestHandler):
        async def post(self) -> None:
            await asyncio.Event().wait()

    round_trip = RoundTrip(serve(Silent), webhook_path=WEBHOOK_ROUTE, livemode=False, timeout=0.1)
    attempt = await round_trip.send(SECRET)
    round_trip.close()
    assert attempt.problem is Problem.TIMEOUT


@pytest.mark.gen_test
async def test_certificate_that_is_not_trusted_is_explained(
    io_loop: IOLoop, tmp_path: Path
) -> None:
    certificate, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    openssl = await asyncio.create_subprocess_exec(
        *("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1"),
        *("-subj", "/CN=localhost", "-keyout", str(key), "-out", str(certificate)),
        stderr=asyncio.subprocess.DEVNULL,
    )
    assert await openssl.wait() == 0
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    listener, port = bind_unused_port()
    server = HTTPServer(Application([]), ssl_options=context)
    server.add_socket(listener)
    [attempt] = await run(f"https://127.0.0.1:{port}/")
    server.stop()
    await server.close_all_connections()
    assert attempt.problem is Problem.TLS
    assert "self-signed certificate" in attempt.explanation


def test_unknown_error_of_the_connection_is_explained() -> None:
    assert connection_problem(OSError(101, "Network is unreachable"))[0] is Problem.CONNECTION
    assert connection_problem(socket.gaierror(-2, "x"))[0] is Problem.DNS
    assert connection_problem(None)[0] is Problem.CONNECTION


@pytest.mark.gen_test
async def test_waiting_ends_with_the_first_accepted_event_or_the_time() -> None:
    refused = Attempt("x", 400, 0.0, Problem.SIGNATURE, "no")
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    answers = iter([refused, refused, Attempt("x", 200, 0.0), refused])

    async def send() -> Attempt:
        return next(answers)

    assert (await wait_until_accepted(send, seconds=60, sleep=sleep)).problem is None
    assert slept == [10.0, 10.0]
    assert (await wait_until_accepted(send, seconds=0, sleep=sleep)) is refused
    assert slept == [10.0, 10.0]
