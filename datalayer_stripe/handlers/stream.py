"""Handler of the stream that sends changes of the caller's balance and plan.

Each server-sent event contains the whole balance or plan. Its id is made of a digest of each. A
client that reconnects with this id as `Last-Event-ID` receives only what has changed since.

https://html.spec.whatwg.org/multipage/server-sent-events.html
"""

import asyncio
import hashlib
import logging
import socket
from typing import cast

from tornado.http1connection import HTTP1Connection
from tornado.iostream import IOStream, StreamClosedError

from ..billing.views import BalanceView, SubscriptionView
from ..errors import RateLimited
from .operation import STORE_ERRORS, Operation, Parameter
from .subscription import SubscriberHandler
from .traffic import RequestTracker
from .urls import STRIPE_PREFIX

logger = logging.getLogger(__name__)

HEARTBEAT_SECONDS = 15.0
"""Interval of the comments that keep an idle connection open."""

WRITE_TIMEOUT_SECONDS = 30.0
"""Time after which a client that reads nothing counts as gone, even if it is still connected."""

# The kernel's send buffer of a stream. It holds many events; the default may be megabytes.
_SEND_BUFFER_BYTES = 16 * 1024

RETRY_MS = 2000
"""Time that a browser waits before it reconnects."""

# Fields of the plan that change with the balance. They do not count as a change of the plan.
_BALANCE_FIELDS = {"wallet_balance", "current_credits", "used_credits"}

LAST_EVENT_ID = Parameter(
    name="Last-Event-ID",
    description="The `id` of the last event that the client has received. It receives only what "
    "has changed since.",
)


class StreamHandler(SubscriberHandler):
    """`GET /stream`: send events until the token expires, the client leaves or the service ends.

    Each event is sent at the start and after each change. Comments keep an idle connection open.
    """

    def initialize(self) -> None:
        super().initialize()
        self._wake = asyncio.Event()
        self._disconnected = False

    def on_connection_close(self) -> None:
        super().on_connection_close()  # ends the wait for a body that was cut off
        self._disconnected = True
        self._wake.set()

    @Operation(
        media_type="text/event-stream",
        events=(("balance", BalanceView), ("plan", SubscriptionView)),
        parameters=(LAST_EVENT_ID,),
        errors=(*STORE_ERRORS, RateLimited),
    )
    async def get(self) -> None:
        state, account_uid = self.app_state, self.identity.account_uid
        with (
            state.stream_limiter.track(account_uid),
            state.request_tracker.on_drain(self._wake.set),
        ):
            async with self.service.store.changes.watch(account_uid, self._wake):
                await self._stream(state.request_tracker)

    async def _stream(self, request_tracker: RequestTracker) -> None:
        balance, _, plan = self.request.headers.get(LAST_EVENT_ID.name, "").partition(".")
        known = {"balance": balance, "plan": plan}
        # Read before the headers are sent, so that a database error still becomes a response.
        text = f"retry: {RETRY_MS}\n\n{await self.changed_events(known)}"
        if self.iostream.closed():
            return  # the client disconnected in the meantime
        self.set_header("Content-Type", "text/event-stream; charset=UTF-8")
        self.set_header("X-Accel-Buffering", "no")  # nginx must not buffer the stream
        self.iostream.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER_BYTES)
        while await self._send(text):
            is_woken = await self._wait_for_change()
            if self._disconnected or request_tracker.draining or not self._seconds_left():
                return
            text = await self.changed_events(known) if is_woken else ": heartbeat\n\n"

    async def changed_events(self, known: dict[str, str]) -> str:
        """Return the events that the client does not know yet, and add them to `known`.

        Args:
            known: The digest of the last balance and of the last plan that the client received.

        Returns:
            The text of the events; empty if nothing has changed.
        """
        account, snapshots = await self.read_account()
        view = self.subscription_view(account, snapshots)
        balance = BalanceView(credits=account.credits, last_update=account.updated_at)
        text = ""
        for name, model, ignored in (("balance", balance, set()), ("plan", view, _BALANCE_FIELDS)):
            compared = model.model_dump_json(exclude=ignored)
            digest = hashlib.sha256(compared.encode()).hexdigest()[:16]
            if digest != known[name]:
                known[name] = digest
                event_id = f"{known['balance']}.{known['plan']}"
                text += f"event: {name}\nid: {event_id}\ndata: {model.model_dump_json()}\n\n"
        return text

    async def _send(self, text: str) -> bool:
        """Send `text`. Close the connection of a client that does not read.

        Returns:
            Whether the connection is still open.
        """
        self.write(text)
        try:
            async with asyncio.timeout(WRITE_TIMEOUT_SECONDS):
                await self.flush()
        except StreamClosedError:
            return False
        except TimeoutError:
            logger.info("closed a stream whose client does not read it")
            self.iostream.close()
            return False
        return True

    @property
    def iostream(self) -> IOStream:
        """The connection to the client."""
        return cast("HTTP1Connection", self.request.connection).stream

    async def _wait_for_change(self) -> bool:
        """Wait for a change, at most until the next heartbeat.

        Returns:
            Whether something may have changed; False if it is time for a heartbeat.
        """
        try:
            async with asyncio.timeout(min(HEARTBEAT_SECONDS, self._seconds_left())):
                await self._wake.wait()
        except TimeoutError:
            return False
        # Clear before the caller reads, so that a change during the read wakes the stream again.
        self._wake.clear()
        return True

    def _seconds_left(self) -> float:
        """Return the seconds until the token expires, or a heartbeat interval if it does not."""
        expires_at, now = self.identity.expires_at, self.service.clock()
        return max(0.0, (expires_at - now).total_seconds()) if expires_at else HEARTBEAT_SECONDS


default_handlers = [(rf"{STRIPE_PREFIX}/stream", StreamHandler)]
