"""Open, idle, ended and aborted connections of the stream."""

import asyncio
import contextlib
import socket

import aiohttp
import pytest
from tornado.web import Application

from datalayer_stripe.handlers import stream
from datalayer_stripe.service import Service
from datalayer_stripe.settings import Settings
from tests.handlers.stream_reader import STREAM, open_stream, open_streams
from tests.support.app import ACCOUNT, Api, Clock, json_of
from tests.support.shop import OTHER_ACCOUNT, STRIPE_ROUTES

MAX_STREAMS_PER_ACCOUNT: int = Settings.model_fields["stripe_max_streams_per_account"].default


@pytest.fixture
def short_heartbeat(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream, "HEARTBEAT_SECONDS", 0.1)


@pytest.mark.gen_test
async def test_idle_stream_sends_heartbeats(api: Api, short_heartbeat: None) -> None:
    async with open_stream(api) as reader:
        await reader.next()
        await reader.next()
        for _ in range(3):
            assert (await reader.next()).data == "heartbeat"


@pytest.mark.gen_test
async def test_stream_ends_when_token_expires(api: Api, clock: Clock) -> None:
    async with open_stream(api, exp=int(clock().timestamp()) + 300) as reader:
        await reader.next()
        await reader.next()
        clock.advance(seconds=300)
        await reader.end()
    assert (await api.get(STREAM, exp=int(clock().timestamp()) - 1)).code == 401


@pytest.mark.gen_test
async def test_stream_ends_when_service_shuts_down(api: Api, app: Application) -> None:
    async with open_stream(api) as reader:
        await reader.next()
        await reader.next()
        app.settings["datalayer_stripe"].request_tracker.drain()
        await reader.end()
        async with asyncio.timeout(60):
            await app.settings["datalayer_stripe"].request_tracker.wait_until_idle()


@pytest.mark.gen_test
async def test_disconnected_client_releases_stream_and_watcher(
    api: Api, service: Service, app: Application, caplog: pytest.LogCaptureFixture
) -> None:
    async with open_stream(api) as reader:
        await reader.next()
        assert open_streams(service) == 1
    async with asyncio.timeout(60):
        await app.settings["datalayer_stripe"].request_tracker.wait_until_idle()
    assert open_streams(service) == 0
    assert not service.store.changes._watchers
    assert not [record for record in caplog.records if record.levelname == "ERROR"]


@pytest.mark.gen_test
async def test_client_that_disconnects_while_sending_body_releases_request(
    api: Api, app: Application
) -> None:
    port = int(api.url.rpartition(":")[2])
    _, writer = await asyncio.open_connection("127.0.0.1", port)
    path = f"{STRIPE_ROUTES}/topup/payment-intent"
    head = f"POST {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {api.bearer(ACCOUNT)}\r\n"
    writer.write(f"{head}Content-Length: 10\r\n\r\nab".encode())
    request_tracker = app.settings["datalayer_stripe"].request_tracker
    async with asyncio.timeout(60):
        while not request_tracker.in_progress:  # noqa: ASYNC110 (there is no event for it)
            await asyncio.sleep(0.01)
        writer.close()
        await request_tracker.wait_until_idle()


@pytest.mark.gen_test
async def test_client_that_disconnects_before_first_event_releases_stream(
    api: Api,
    service: Service,
    app: Application,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    read_events = stream.StreamHandler.changed_events

    async def close_and_read(self: stream.StreamHandler, known: dict[str, str]) -> str:
        self.iostream.close()
        return await read_events(self, known)

    monkeypatch.setattr(stream.StreamHandler, "changed_events", close_and_read)
    with pytest.raises(aiohttp.ServerDisconnectedError):
        async with open_stream(api):
            pass
    async with asyncio.timeout(60):
        await app.settings["datalayer_stripe"].request_tracker.wait_until_idle()
    assert open_streams(service) == 0
    assert not [record for record in caplog.records if record.levelname == "ERROR"]


@pytest.mark.gen_test
async def test_client_that_does_not_read_is_disconnected_after_little_buffering(
    api: Api, service: Service, app: Application, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream, "HEARTBEAT_SECONDS", 0.001)
    monkeypatch.setattr(stream, "WRITE_TIMEOUT_SECONDS", 0.3)
    loop = asyncio.get_running_loop()
    with socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.setblocking(False)
        await loop.sock_connect(client, ("127.0.0.1", int(api.url.rpartition(":")[2])))
        token = api.bearer(ACCOUNT)
        request = f"GET {STREAM} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n\r\n"
        await loop.sock_sendall(client, request.encode())
        async with asyncio.timeout(60):
            while not app.settings["datalayer_stripe"].request_tracker.in_progress:  # noqa: ASYNC110 (there is no event for it)
                await asyncio.sleep(0.01)
            await app.settings["datalayer_stripe"].request_tracker.wait_until_idle()
        assert open_streams(service) == 0
        received = await _until_closed(client)
    assert received.startswith(b"HTTP/1.1 200")
    assert not received.endswith(b"0\r\n\r\n"), "the stream was aborted"
    assert len(received) < 200_000


async def _until_closed(client: socket.socket) -> bytes:
    loop, received = asyncio.get_running_loop(), b""
    async with asyncio.timeout(60):
        with contextlib.suppress(ConnectionResetError):
            while chunk := await loop.sock_recv(client, 65536):
                received += chunk
    return received


@pytest.mark.gen_test
async def test_open_streams_of_account_are_limited(api: Api, service: Service) -> None:
    async with contextlib.AsyncExitStack() as stack:
        for _ in range(MAX_STREAMS_PER_ACCOUNT):
            await (await stack.enter_async_context(open_stream(api))).next()
        refused = await api.get(STREAM)
        assert (refused.code, json_of(refused)["code"]) == (429, "rate_limited")
        assert refused.headers["Retry-After"] == "30"
        async with open_stream(api, OTHER_ACCOUNT) as other_reader:
            await other_reader.next()
            assert open_streams(service) == MAX_STREAMS_PER_ACCOUNT + 1
