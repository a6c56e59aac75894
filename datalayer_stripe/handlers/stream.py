"""The caller's balance and plan, as they change: server-sent events.

Each event holds the whole balance or plan, and its id says which of both the client has then: one
that comes back with `Last-Event-ID` gets what is new to it, and nothing twice.

html.spec.whatwg.org/multipage/server-sent-events.html
"""

import asyncio
import hashlib
import logging
import socket
from typing import cast

from tornado.http1connection import HTTP1Connection
from tornado.iostream import IOStream, StreamClosedError

from ..billing.views import BalanceView
from .subscription import SubscriberHandler
from .traffic import RequestTracker
from .urls import STRIPE_PREFIX

logger = logging.getLogger(__name__)

HEARTBEAT_SECONDS = 15.0

# A client that reads nothing for so long is gone, though its connection may not know it.
_PATIENCE_SECONDS = 30.0
# What the system keeps for it until then: many events' worth, where its own choice is megabytes.
_SEND_BUFFER_BYTES = 16 * 1024
RETRY_MS = 2000

# Of the plan's event: with the balance it does not change.
_BALANCE_FIELDS = {"wallet_balance", "current_credits", "used_credits"}


class StreamHandler(SubscriberHandler):
    """`GET /stream`. It ends with its token, with its client, and when the service shuts down."""

    def initialize(self) -> None:
        super().initialize()
        self._wake = asyncio.Event()
        self._gone = False

    def on_connection_close(self) -> None:
        super().on_connection_close()  # which ends the wait for a body that was cut
        self._gone = True
        self._wake.set()

    async def get(self) -> None:
        account_uid, request_tracker = self.identity.account_uid, self.site.request_tracker
        with self.site.streams.track(account_uid), request_tracker.on_drain(self._wake.set):
            async with self.service.store.changes.watched(account_uid, self._wake):
                await self._stream(request_tracker)

    async def _stream(self, request_tracker: RequestTracker) -> None:
        balance, _, plan = self.request.headers.get("Last-Event-ID", "").partition(".")
        seen = {"balance": balance, "plan": plan}
        # Read before the headers go out: a database that does not answer is an error like others.
        text = f"retry: {RETRY_MS}\n\n{await self._news(seen)}"
        if self._io.closed():
            return  # the client is gone meanwhile
        self.set_header("Content-Type", "text/event-stream; charset=UTF-8")
        self.set_header("X-Accel-Buffering", "no")  # nginx would keep it back
        self._io.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER_BYTES)
        while await self._sent(text):
            woken = await self._woken()
            if self._gone or request_tracker.draining or not self._seconds_left():
                return
            text = await self._news(seen) if woken else ": still here\n\n"

    async def _news(self, seen: dict[str, str]) -> str:
        """The events that are new to a client which has `seen` these; it has seen them then."""
        account, snapshots = await self.read()
        view = self.view(account, snapshots)
        balance = BalanceView(credits=account.credits, last_update=account.updated_at)
        text = ""
        for name, model, apart in (("balance", balance, set()), ("plan", view, _BALANCE_FIELDS)):
            essence = model.model_dump_json(exclude=apart)
            digest = hashlib.sha256(essence.encode()).hexdigest()[:16]
            if digest != seen[name]:
                seen[name] = digest
                event_id = f"{seen['balance']}.{seen['plan']}"
                text += f"event: {name}\nid: {event_id}\ndata: {model.model_dump_json()}\n\n"
        return text

    async def _sent(self, text: str) -> bool:
        """Whether the client took it. One that does not read is closed, and nothing kept for it."""
        self.write(text)
        try:
            async with asyncio.timeout(_PATIENCE_SECONDS):
                await self.flush()
        except StreamClosedError:
            return False
        except TimeoutError:
            logger.info("closed a stream that its client does not read")
            self._io.close()
            return False
        return True

    @property
    def _io(self) -> IOStream:
        return cast("HTTP1Connection", self.request.connection).stream

    async def _woken(self) -> bool:
        """Whether something may have changed; else it is time for a sign of life."""
        try:
            async with asyncio.timeout(min(HEARTBEAT_SECONDS, self._seconds_left())):
                await self._wake.wait()
        except TimeoutError:
            return False
        # Before reading: what changes meanwhile wakes again.
        self._wake.clear()
        return True

    def _seconds_left(self) -> float:
        """How long the token still lets its bearer in."""
        expires_at, now = self.identity.expires_at, self.service.clock()
        return max(0.0, (expires_at - now).total_seconds()) if expires_at else HEARTBEAT_SECONDS


default_handlers = [(rf"{STRIPE_PREFIX}/stream", StreamHandler)]
