"""The stream of balance and plan changes: its events, its end, and reconnecting."""

import asyncio
import contextlib
import json
import socket
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import aiohttp
import pytest
from pymongo.read_concern import ReadConcern
from tornado.web import Application

from datalayer_stripe.handlers import stream
from datalayer_stripe.handlers.traffic import MAX_STREAMS_PER_ACCOUNT
from datalayer_stripe.sandbox.delivery.webhooks import Webhooks
from datalayer_stripe.service import Service, open_service
from datalayer_stripe.settings import Settings
from datalayer_stripe.store import change_stream as changes
from tests.support.app import ACCOUNT, Api, Clock, changed, json_of, recorded
from tests.support.shop import OTHER_ACCOUNT, STRIPE_ROUTES, Buyer

STREAM = f"{STRIPE_ROUTES}/stream"
PAID = recorded("payment_intent.succeeded")


@dataclass
class ServerSentEvent:
    """Server-sent event; `name` is empty for a comment."""

    name: str
    id: str
    data: Any


class Reader:
    """Reader of an open stream, event by event."""

    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self.headers = response.headers
        self._content = response.content

    async def next(self) -> ServerSentEvent:
        block = await self._block()
        assert block is not None, "the stream has ended"
        fields = dict(line.split(": ", 1) for line in block.splitlines())
        data = json.loads(fields["data"]) if "data" in fields else fields.get("")
        return ServerSentEvent(fields.get("event", ""), fields.get("id", ""), data)

    async def end(self) -> None:
        assert await self._block() is None

    async def wait_for_balance(self, credits: int) -> None:
        while (sent := await self.next()).name != "balance" or sent.data["credits"] != credits:
            pass

    async def _block(self) -> str | None:
        """Return the lines up to a blank one, or None at the end of the stream."""
        async with asyncio.timeout(10):
            while True:
                try:
                    block = (await self._content.readuntil(b"\n\n")).decode().strip()
                except aiohttp.ClientPayloadError:
                    return None
                if not block.startswith("retry"):
                    return block or None


@contextlib.asynccontextmanager
async def open_stream(
    api: Api, account: str = ACCOUNT, last_event_id: str | None = None, **claims: Any
) -> AsyncIterator[Reader]:
    headers = {"Authorization": f"Bearer {api.bearer(account, **claims)}"}
    if last_event_id is not None:
        headers["Last-Event-ID"] = last_event_id
    async with (
        aiohttp.ClientSession() as session,
        session.get(api.url + STREAM, headers=headers) as response,
    ):
        assert response.status == 200, await response.text()
        yield Reader(response)


@pytest.fixture
def short_heartbeat(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream, "HEARTBEAT_SECONDS", 0.1)


@pytest.mark.gen_test
async def test_stream_starts_with_current_balance_and_plan(
    buyer: Buyer, webhooks: Webhooks
) -> None:
    await buyer.subscribe()
    async with open_stream(buyer.api) as reader:
        balance, plan = await reader.next(), await reader.next()
    assert (balance.name, balance.data) == ("balance", {"credits": 0, "last_update": None})
    assert (plan.name, plan.data) == ("plan", await buyer.plan())
    assert reader.headers["content-type"] == "text/event-stream; charset=UTF-8"
    assert reader.headers["cache-control"] == "no-store"
    assert reader.headers["access-control-allow-origin"] == "*"


@pytest.mark.parametrize("database", ["memory", pytest.param("mongod", marks=pytest.mark.mongod)])
@pytest.mark.gen_test
async def test_purchase_sends_one_balance_event(
    buyer: Buyer, webhooks: Webhooks, database: str
) -> None:
    await buyer.subscribe()
    async with open_stream(buyer.api) as reader:
        await reader.next()
        plan = await reader.next()
        await buyer.buy()
        sent = await reader.next()
        assert (sent.name, sent.data["credits"]) == ("balance", 50)
        assert sent.data["last_update"]
        assert sent.id.partition(".")[2] == plan.id.partition(".")[2], "the plan has not changed"
        await buyer.buy()
        assert (await reader.next()).data["credits"] == 100


@pytest.mark.mongod
@pytest.mark.gen_test
async def test_changes_of_plan_are_sent(buyer: Buyer, webhooks: Webhooks) -> None:
    async with open_stream(buyer.api) as reader:
        await reader.next()
        assert (await reader.next()).data["status"] == "none"
        await buyer.ask_to_subscribe()
        assert (await reader.next()).data["status"] == "incomplete"
        await buyer.subscribe()
        while (sent := await reader.next()).data["status"] != "active":
            pass
        assert (sent.name, sent.data["is_eligible"]) == ("plan", True)
        await buyer.api.post("/api/iam/v1/subscription/cancel")
        while not (sent := await reader.next()).data["cancel_at_period_end"]:
            pass


@pytest.mark.mongod
@pytest.mark.gen_test
async def test_commits_of_another_process_are_sent(
    buyer: Buyer, webhooks: Webhooks, settings: Settings, clock: Clock
) -> None:
    """A second service on the same database takes the place of the other process."""
    await buyer.subscribe()
    webhooks.hold()
    other = await open_service(settings, clock=clock)
    try:
        async with open_stream(buyer.api) as reader:
            await reader.wait_for_balance(0)
            await other.processor.replay(await _paid_event(buyer))
            await reader.wait_for_balance(50)
    finally:
        await other.close()


async def _paid_event(buyer: Buyer) -> str:
    started = json_of(await buyer.ask_to_buy())
    buyer.sandbox.confirm_payment(started["client_secret"])
    paid = [event for event in buyer.sandbox.events if event["type"] == "payment_intent.succeeded"]
    return str(paid[-1]["id"])


@pytest.mark.mongod
@pytest.mark.gen_test
async def test_stream_sends_only_events_of_own_account(api: Api) -> None:
    async with open_stream(api, OTHER_ACCOUNT) as other_reader, open_stream(api) as own_reader:
        for reader in (other_reader, own_reader):
            assert (await reader.next()).data["credits"] == 0
            await reader.next()
        await api.deliver(PAID)
        await own_reader.wait_for_balance(50)
        # The first event on the other stream is about its own payment.
        payment = json.loads(PAID)["data"]["object"]
        metadata = {**payment["metadata"], "account_uid": OTHER_ACCOUNT, "credits": "7"}
        theirs_paid = changed(PAID, metadata=metadata, customer="cus_2")
        await api.deliver(theirs_paid.replace(payment["id"].encode(), b"pi_2"))
        assert (await other_reader.next()).data["credits"] == 7
    assert (await api.get(STREAM, None)).code == 401


@pytest.mark.gen_test
async def test_reconnecting_client_receives_only_what_changed(
    buyer: Buyer, webhooks: Webhooks
) -> None:
    await buyer.subscribe()
    async with open_stream(buyer.api) as reader:
        await reader.next()
        seen = (await reader.next()).id
    async with open_stream(buyer.api, last_event_id=seen) as reader:
        await buyer.buy()
        sent = await reader.next()
        assert (sent.name, sent.data["credits"]) == ("balance", 50), "no event is repeated"
    await buyer.buy()
    async with open_stream(buyer.api, last_event_id=sent.id) as reader:
        sent = await reader.next()
        assert (sent.name, sent.data["credits"]) == ("balance", 100)
        await buyer.api.post("/api/iam/v1/subscription/cancel")
        assert (await reader.next()).name == "plan"


@pytest.mark.parametrize("last_event_id", ["", ".", "x", "x.y.z", "\u00e9" * 300])
@pytest.mark.gen_test
async def test_unknown_last_event_id_starts_from_the_beginning(
    api: Api, last_event_id: str
) -> None:
    async with open_stream(api, last_event_id=last_event_id) as reader:
        assert [(await reader.next()).name for _ in range(2)] == ["balance", "plan"]


@pytest.mark.gen_test
async def test_idle_stream_sends_heartbeats(api: Api, short_heartbeat: None) -> None:
    async with open_stream(api) as reader:
        await reader.next()
        await reader.next()
        for _ in range(3):
            assert (await reader.next()).data == "heartbeat"


@pytest.mark.gen_test
async def test_stream_ends_when_token_expires(api: Api, clock: Clock) -> None:
    async with open_stream(api, exp=int(clock().timestamp()) + 2) as reader:
        await reader.next()
        await reader.next()
        await reader.end()
    assert (await api.get(STREAM, exp=int(clock().timestamp()) - 1)).code == 401


@pytest.mark.gen_test
async def test_stream_ends_when_service_shuts_down(api: Api, app: Application) -> None:
    async with open_stream(api) as reader:
        await reader.next()
        await reader.next()
        app.settings["datalayer_stripe"].request_tracker.drain()
        await reader.end()
        async with asyncio.timeout(5):
            await app.settings["datalayer_stripe"].request_tracker.wait_until_idle()


@pytest.mark.gen_test
async def test_disconnected_client_releases_stream_and_watcher(
    api: Api, service: Service, app: Application, caplog: pytest.LogCaptureFixture
) -> None:
    async with open_stream(api) as reader:
        await reader.next()
        assert open_streams(service) == 1
    async with asyncio.timeout(5):
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
    async with asyncio.timeout(10):
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
    async with asyncio.timeout(5):
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
        async with asyncio.timeout(40):
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
    async with asyncio.timeout(10):
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


def open_streams(service: Service) -> float:
    """Return the number of open streams."""
    value = service.metrics.registry.get_sample_value("datalayer_stripe_streams")
    assert value is not None
    return value


@pytest.mark.mongod
@pytest.mark.gen_test
async def test_killed_change_stream_is_reopened(
    buyer: Buyer,
    webhooks: Webhooks,
    service: Service,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(changes, "_RETRY_SECONDS", 0.05)
    await buyer.subscribe()
    async with open_stream(buyer.api) as reader:
        await reader.wait_for_balance(0)
        await kill_change_streams(service)
        await buyer.buy()
        await reader.wait_for_balance(50)


async def kill_change_streams(service: Service) -> None:
    """Kill the change streams of the service on the MongoDB server."""
    database = service.store._database
    admin = service.store._client.admin.with_options(read_concern=ReadConcern("local"))
    own_cursors = {"ns": {"$regex": f"^{database.name}"}, "cursor": {"$exists": True}}
    stages = [{"$currentOp": {"idleCursors": True}}, {"$match": own_cursors}]
    found: list[Any] = []
    while not found:
        found = await admin.aggregate(stages).to_list(None)
    for operation in found:
        await database.command(
            "killCursors", "$cmd.aggregate", cursors=[operation["cursor"]["cursorId"]]
        )


@pytest.mark.mongod
@pytest.mark.gen_test
async def test_stream_continues_when_change_stream_raises(
    buyer: Buyer, webhooks: Webhooks, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(changes, "_RETRY_SECONDS", 0.05)
    monkeypatch.setattr(changes, "_accounts_of", lambda _: 1 / 0)
    await buyer.subscribe()
    async with open_stream(buyer.api) as reader:
        await reader.wait_for_balance(0)
        for credits in (50, 100):
            await buyer.buy()
            await reader.wait_for_balance(credits)


@pytest.mark.mongod
@pytest.mark.gen_test
async def test_stream_polls_when_change_streams_are_not_available(
    buyer: Buyer, webhooks: Webhooks, service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same happens if the database user may not open a change stream."""
    monkeypatch.setattr(changes, "_RETRY_SECONDS", 0.05)
    monkeypatch.setattr(changes, "_PIPELINE", [{"$group": {"_id": None}}])
    await buyer.subscribe()
    async with open_stream(buyer.api) as reader:
        await reader.wait_for_balance(0)
        await buyer.buy()
        await reader.wait_for_balance(50)
