"""Request bodies over raw connections: aborted, too many at once, slow, or not read to the end."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest
from tornado.web import Application

from datalayer_stripe.errors import StoreUnavailable
from datalayer_stripe.handlers import bodies
from datalayer_stripe.handlers.app_state import AppState
from datalayer_stripe.service import Service
from tests.support.app import ACCOUNT, Api, json_of, recorded
from tests.support.shop import IAM_ROUTES, STRIPE_ROUTES

WEBHOOK = f"{STRIPE_ROUTES}/webhook"
TOPUP = f"{STRIPE_ROUTES}/topup/payment-intent"
FAKE_SIGNATURE = "Stripe-Signature: t=1,v1=00\r\n"
KB = 1024


class Connection:
    """Keep-alive HTTP/1.1 connection on which a test writes bytes."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    async def send(self, method: str, path: str, headers: str = "", body: bytes = b"") -> None:
        head = f"{method} {path} HTTP/1.1\r\nHost: test\r\n{headers}\r\n"
        self.writer.write(head.encode() + body)
        await self.writer.drain()

    async def answer(self) -> tuple[int, dict[str, str], bytes]:
        """Read the next response: status, headers (names in lower case) and body."""
        lines = (await self.reader.readuntil(b"\r\n\r\n")).decode("latin1").split("\r\n")
        pairs = (line.partition(":") for line in lines[1:] if line)
        headers = {name.lower(): value.strip() for name, _, value in pairs}
        body = await self.reader.readexactly(int(headers.get("content-length", "0")))
        return int(lines[0].split()[1]), headers, body


@asynccontextmanager
async def connected(api: Api) -> AsyncIterator[Connection]:
    port = int(api.url.rpartition(":")[2])
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        yield Connection(reader, writer)
    finally:
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not condition():  # noqa: ASYNC110 (a counter has no event to wait for)
            await asyncio.sleep(0.005)


@pytest.fixture
def app_state(app: Application) -> AppState:
    found: AppState = app.settings["datalayer_stripe"]
    return found


def webhook_headers(size: int) -> str:
    """Return the headers of a delivery with a body of `size` bytes."""
    return f"{FAKE_SIGNATURE}Content-Length: {size}\r\n"


# Memory


@pytest.mark.gen_test
async def test_aborted_upload_frees_its_buffer(api: Api, app_state: AppState) -> None:
    async with connected(api) as one, connected(api) as other:
        await one.send("POST", WEBHOOK, webhook_headers(900 * KB), b"x" * 600 * KB)
        await other.send("POST", WEBHOOK, webhook_headers(900 * KB), b"x" * 300 * KB)
        await until(lambda: app_state.body_budget.reserved == 900 * KB)
        one.writer.close()
        await until(lambda: app_state.body_budget.reserved == 300 * KB)
        other.writer.transport.abort()
        await until(lambda: app_state.body_budget.reserved == 0)
    assert app_state.metrics.body_bytes._value.get() == 0


@pytest.mark.gen_test
async def test_answered_request_frees_its_body(api: Api, app_state: AppState) -> None:
    for size in (10, 1000 * KB):
        async with connected(api) as connection:
            await connection.send("POST", WEBHOOK, webhook_headers(size), b"x" * size)
            assert (await connection.answer())[0] == 400
            await until(lambda: app_state.body_budget.reserved == 0)


@pytest.mark.gen_test
async def test_webhook_replaces_oldest_half_sent_body_when_memory_is_full(
    api: Api, app_state: AppState, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(app_state.body_budget, "limit", 1000 * KB)
    async with connected(api) as first, connected(api) as second:
        for connection in (first, second):
            await connection.send("POST", WEBHOOK, webhook_headers(600 * KB), b"x" * 499 * KB)
        await until(lambda: app_state.body_budget.reserved == 998 * KB)
        delivered = await api.deliver(recorded("payment_intent.succeeded"))
        assert json_of(delivered)["outcome"] == "processed"
        assert app_state.body_budget.reserved == 499 * KB, "the oldest body is discarded"
        first.writer.write(b"x" * 101 * KB)
        status, headers, body = await first.answer()
        assert (status, b'"code":"overloaded"' in body) == (503, True)
        assert int(headers["retry-after"]) > 0
        second.writer.write(b"x" * 101 * KB)
        assert (await second.answer())[0] == 400
        await until(lambda: app_state.body_budget.reserved == 0)


@pytest.mark.gen_test
async def test_complete_body_is_not_discarded_for_another_body(
    api: Api, app_state: AppState, monkeypatch: pytest.MonkeyPatch
) -> None:
    receive, may_continue = api.service.deliveries.receive, asyncio.Event()

    async def wait_and_receive(*args: Any, **options: Any) -> Any:
        await may_continue.wait()
        return await receive(*args, **options)

    monkeypatch.setattr(api.service.deliveries, "receive", wait_and_receive)
    body = recorded("payment_intent.succeeded")
    monkeypatch.setattr(app_state.body_budget, "limit", len(body) + 100)
    delivering = asyncio.create_task(api.deliver(body))
    await until(lambda: app_state.body_budget.reserved == len(body))
    async with connected(api) as second:
        await second.send("POST", WEBHOOK, webhook_headers(5 * KB), b"x" * 5 * KB)
        assert (await second.answer())[0] == 503
    may_continue.set()
    assert json_of(await delivering)["outcome"] == "processed"


@pytest.mark.gen_test
async def test_body_over_route_limit_is_not_buffered(api: Api, app_state: AppState) -> None:
    async with connected(api) as connection:
        headers = f"{FAKE_SIGNATURE}Transfer-Encoding: chunked\r\n"
        await connection.send("POST", WEBHOOK, headers)
        largest = 0
        for _ in range(64):
            connection.writer.write(b"8000\r\n" + b"x" * 0x8000 + b"\r\n")
            await connection.writer.drain()
            largest = max(largest, app_state.body_budget.reserved)
        assert largest <= 1024 * KB
        connection.writer.write(b"0\r\n\r\n")
        assert (await connection.answer())[0] == 413
        assert app_state.body_budget.reserved == 0


# Time


@pytest.mark.gen_test
async def test_connection_closes_when_body_takes_too_long(
    api: Api, app_state: AppState, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The server of these tests has no body timeout, like a Jupyter Server.
    monkeypatch.setattr(bodies, "BODY_TIMEOUT_SECONDS", 0.2)
    async with connected(api) as connection:
        await connection.send("POST", WEBHOOK, webhook_headers(900 * KB), b"x" * 100)
        assert await connection.reader.read() == b""
        await until(lambda: app_state.body_budget.reserved == 0)


@pytest.mark.gen_test
async def test_each_connection_closes_at_its_own_deadline(
    api: Api, app_state: AppState, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bodies, "BODY_TIMEOUT_SECONDS", 0.3)
    async with connected(api) as first, connected(api) as second:
        await first.send("POST", WEBHOOK, webhook_headers(900 * KB), b"x" * 100)
        await until(lambda: app_state.body_budget.reserved == 100)
        started_at = asyncio.get_running_loop().time()
        await until(lambda: asyncio.get_running_loop().time() > started_at + 0.1)
        await second.send("POST", WEBHOOK, webhook_headers(900 * KB))
        assert await first.reader.read() == b""
        assert not second.reader.at_eof()
        assert await second.reader.read() == b""


@pytest.mark.gen_test
async def test_complete_body_may_be_handled_longer_than_the_body_timeout(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    receive, may_continue = api.service.deliveries.receive, asyncio.Event()
    expired: list[bool] = []

    async def wait_and_receive(body: bytes, signature: str | None, **options: Any) -> Any:
        await may_continue.wait()
        return await receive(body, signature, **options)

    def note(handler: bodies.BodyHandler) -> None:
        close_if_incomplete(handler)
        expired.append(True)

    close_if_incomplete = bodies.BodyHandler.close_if_incomplete
    monkeypatch.setattr(bodies.BodyHandler, "close_if_incomplete", note)
    monkeypatch.setattr(api.service.deliveries, "receive", wait_and_receive)
    monkeypatch.setattr(bodies, "BODY_TIMEOUT_SECONDS", 0.05)
    delivering = asyncio.create_task(api.deliver(recorded("payment_intent.succeeded")))
    await until(lambda: bool(expired))
    may_continue.set()
    assert json_of(await delivering)["outcome"] == "processed"


def test_body_timeout_is_thirty_seconds() -> None:
    assert bodies.BODY_TIMEOUT_SECONDS == 30


# Routes that accept no body


@pytest.mark.parametrize("headers", ["Content-Length: 1\r\n", "Transfer-Encoding: chunked\r\n"])
@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/checkout"),
        ("GET", "/checkout/app.js"),
        ("HEAD", "/checkout/app.js"),
        ("GET", "/healthz"),
        ("GET", f"{IAM_ROUTES}/ping"),
        ("OPTIONS", f"{IAM_ROUTES}/ping"),
    ],
)
@pytest.mark.gen_test
async def test_body_of_get_request_is_refused(
    api: Api, app_state: AppState, method: str, path: str, headers: str
) -> None:
    async with connected(api) as connection:
        await connection.send(method, path, headers)
        head = await connection.reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 413 ")
        assert b"Connection: close" in head
        await connection.reader.read()
        assert app_state.body_budget.reserved == 0


@pytest.mark.gen_test
async def test_content_length_of_zero_is_no_body(api: Api) -> None:
    async with connected(api) as connection:
        for path in ("/checkout/app.js", f"{IAM_ROUTES}/ping"):
            await connection.send("GET", path, "Content-Length: 0\r\n")
            status, headers, _ = await connection.answer()
            assert (status, "connection" in headers) == (200, False)


# Responses before the body has been read


@pytest.mark.parametrize("body", [b"", b"{}", b"x" * 60 * KB])
@pytest.mark.parametrize(
    ("method", "path", "authorized", "status"),
    [
        ("POST", TOPUP, False, 401),
        ("POST", WEBHOOK, False, 400),
        ("POST", "/nothing", False, 404),
        ("PUT", TOPUP, False, 405),
        ("BREW", TOPUP, False, 405),
        ("POST", "/checkout/app.js", False, 405),
        ("GET", "/checkout/nothing.js", False, 404),
        ("POST", TOPUP, True, 415),
    ],
)
@pytest.mark.gen_test
async def test_response_says_whether_connection_stays_open(
    api: Api, method: str, path: str, authorized: bool, status: int, body: bytes
) -> None:
    if method == "GET" and body:
        status = 413
    async with connected(api) as connection:
        headers = f"Content-Length: {len(body)}\r\n"
        if authorized:
            headers += f"Authorization: Bearer {api.bearer(ACCOUNT)}\r\n"
        await connection.send(method, path, headers, body)
        head = await connection.reader.readuntil(b"\r\n\r\n")
        assert head.startswith(f"HTTP/1.1 {status} ".encode())
        rest = head.decode("latin1").lower()
        if "connection: close" in rest:
            await connection.reader.read()  # until the end, without a reset
        else:
            size = int(rest.partition("content-length: ")[2].split("\r\n")[0])
            await connection.reader.readexactly(size)
            await connection.send("GET", f"{IAM_ROUTES}/ping")
            assert (await connection.answer())[0] == 200


@pytest.mark.gen_test
async def test_connection_stays_open_after_503(
    api: Api, service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(_: str) -> None:
        raise StoreUnavailable

    monkeypatch.setattr(service.store.accounts, "get", fail)
    authorization = f"Authorization: Bearer {api.bearer(ACCOUNT)}\r\n"
    async with connected(api) as connection:
        for _ in range(2):
            await connection.send("GET", f"{IAM_ROUTES}/usage/credits", authorization)
            status, headers, _ = await connection.answer()
            assert (status, "connection" in headers) == (503, False)


@pytest.mark.parametrize("body", [b"", b"{}"])
@pytest.mark.gen_test
async def test_http_1_0_response_does_not_confirm_keep_alive_when_connection_closes(
    api: Api, body: bytes
) -> None:
    async with connected(api) as connection:
        head = f"POST {TOPUP} HTTP/1.0\r\nConnection: keep-alive\r\nContent-Length: {len(body)}"
        connection.writer.write(f"{head}\r\n\r\n".encode() + body)
        answer = await connection.reader.read()
    assert answer.startswith(b"HTTP/1.1 401 ")
    assert b"\r\nConnection: close\r\n" in answer
    assert b"keep-alive" not in answer.lower()


@pytest.mark.parametrize("path", [WEBHOOK, TOPUP, "/checkout/app.js", "/nothing"])
@pytest.mark.gen_test
async def test_very_large_content_length_gets_one_response(api: Api, path: str) -> None:
    async with connected(api) as connection:
        await connection.send("POST", path, f"Content-Length: {10**18}\r\n", b"x")
        answers = await connection.reader.read()
    assert answers.count(b"HTTP/1.1 ") == 1
    assert b"\r\nConnection: close\r\n" in answers


# Invalid Content-Length


@pytest.mark.parametrize(
    "length", ["²", "9" * 5000, "1" + "0" * 4999, "-1", "+1", "1_0", "0x10", "1,2", "1 2", "one"]
)
@pytest.mark.parametrize(
    "path", [WEBHOOK, TOPUP, "/checkout/app.js", "/healthz", "/nothing", "OPTIONS /nothing"]
)
@pytest.mark.gen_test
async def test_content_length_that_is_not_a_number_is_bad_request(
    api: Api, path: str, length: str, caplog: pytest.LogCaptureFixture
) -> None:
    method = "POST" if path in {WEBHOOK, TOPUP} else "GET"
    if path.startswith("OPTIONS"):
        method, _, path = path.partition(" ")
    async with connected(api) as connection:
        head = f"{method} {path} HTTP/1.1\r\nHost: a\r\n{FAKE_SIGNATURE}Content-Length: {length}"
        connection.writer.write(f"{head}\r\n\r\n".encode("latin1"))
        answers = await connection.reader.read()
    status = 404 if (method, path) == ("GET", "/nothing") else 400
    assert answers.startswith(f"HTTP/1.1 {status} ".encode())
    assert answers.count(b"HTTP/1.1 ") == 1
    assert b"\r\nConnection: close\r\n" in answers
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]
