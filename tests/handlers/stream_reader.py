"""Read the stream of balance and plan changes, for its tests."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import aiohttp

from datalayer_stripe.service import Service
from tests.support.app import ACCOUNT, Api
from tests.support.shop import STRIPE_ROUTES

STREAM = f"{STRIPE_ROUTES}/stream"


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
        async with asyncio.timeout(20):
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


def open_streams(service: Service) -> float:
    """Return the number of open streams."""
    value = service.metrics.registry.get_sample_value("datalayer_stripe_streams")
    assert value is not None
    return value
