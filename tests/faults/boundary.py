"""The driver of MongoDB and the transport of Stripe's SDK, with every call through a `Gate`.

Errors are the driver's own, with the labels that the driver sets where it would: the
specifications "Transactions" and "Retryable Writes" of github.com/mongodb/specifications.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import stripe
from motor.motor_asyncio import AsyncIOMotorClient
from pymongo.errors import AutoReconnect, NetworkTimeout, PyMongoError, ServerSelectionTimeoutError

from tests.faults.injection import Gate, When


class GatedHTTPClient(stripe.AIOHTTPClient):
    """The transport of Stripe's SDK. The SDK tries again what it is told not to have reached."""

    def __init__(self, gate: Gate, timeout: Any) -> None:
        # Plain HTTP: the certificates of the machine are not read for each new process.
        super().__init__(timeout=timeout, connector=aiohttp.TCPConnector())
        self._gate = gate

    async def request_async(
        self, method: str, url: str, headers: Mapping[str, str], post_data: Any = None
    ) -> Any:
        path = urlsplit(url).path.removeprefix("/v1/").split("/", maxsplit=1)[0]
        request = super().request_async
        return await self._gate.call(
            f"stripe.{method}.{path}",
            lambda: request(method, url, headers, post_data),
            lambda _: stripe.APIConnectionError("cut", should_retry=True),
        )

    def sleep_async(self, _: float) -> Any:
        return asyncio.sleep(0)  # the SDK's pause before it tries again


def _outside(when: When) -> PyMongoError:
    """An error outside of a transaction; the driver has tried again by itself, in vain."""
    if when == "before":
        return ServerSelectionTimeoutError("no server")
    return NetworkTimeout("no answer")


def _inside(when: When) -> PyMongoError:
    """The same inside of a transaction, which can be tried again as a whole."""
    return AutoReconnect(f"cut {when}", {"errorLabels": ["TransientTransactionError"]})


def _at_commit(when: When) -> PyMongoError:
    return AutoReconnect(f"cut {when}", {"errorLabels": ["UnknownTransactionCommitResult"]})


class GatedClient:
    """Stands for AsyncIOMotorClient, as far as the store uses it."""

    def __init__(self, gate: Gate, *args: Any, **options: Any) -> None:
        self._gate = gate
        self._raw: Any = AsyncIOMotorClient(*args, **options)

    @property
    def admin(self) -> "GatedDatabase":
        return self["admin"]

    def __getitem__(self, name: str) -> "GatedDatabase":
        return GatedDatabase(self._gate, self._raw[name])

    async def start_session(self) -> "GatedSession":
        raw = await self._gate.call("start_session", self._raw.start_session, _outside)
        return GatedSession(self._gate, raw)

    def close(self) -> None:
        self._raw.close()


class GatedSession:
    """A MongoDB session and its transaction. A cut one leaves its transaction to the server."""

    def __init__(self, gate: Gate, raw: Any) -> None:
        self._gate = gate
        self.raw = raw
        gate.sessions.add(self)

    def start_transaction(self, **options: Any) -> None:
        self.raw.start_transaction(**options)  # no I/O: the first operation begins it

    async def commit_transaction(self) -> None:
        await self._gate.call("commit", self.raw.commit_transaction, _at_commit)

    async def abort_transaction(self) -> None:
        # The driver keeps an abort's failure to itself.
        await self._gate.call("abort", self.raw.abort_transaction, lambda _: None)

    async def __aenter__(self) -> "GatedSession":
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._gate.dead:
            return  # the server ends it once the process has been buried
        self._gate.sessions.discard(self)
        if self.raw.in_transaction:
            self._gate.abandon(self.raw.end_session)
        else:
            await self.raw.end_session()


class GatedDatabase:
    def __init__(self, gate: Gate, raw: Any) -> None:
        self._gate = gate
        self._raw = raw

    def __getitem__(self, name: str) -> "GatedCollection":
        return GatedCollection(self._gate, self._raw[name])

    def with_options(self, **options: Any) -> "GatedDatabase":
        return GatedDatabase(self._gate, self._raw.with_options(**options))

    def __getattr__(self, name: str) -> Any:
        if name in {"list_collection_names", "create_collection", "drop_collection", "command"}:
            return _gated(self._gate, name, getattr(self._raw, name))
        return self[name]


class GatedCollection:
    def __init__(self, gate: Gate, raw: Any) -> None:
        self._gate = gate
        self._raw = raw

    def __getattr__(self, name: str) -> Any:
        work = getattr(self._raw, name)
        if name in {"find", "aggregate"}:
            return lambda *args, **options: GatedCursor(self._gate, work(*args, **options))
        return _gated(self._gate, name, work)


class GatedCursor:
    """A cursor, read at once: its rows are few."""

    def __init__(self, gate: Gate, raw: Any) -> None:
        self._gate = gate
        self._raw = raw

    def sort(self, *args: Any) -> "GatedCursor":
        return GatedCursor(self._gate, self._raw.sort(*args))

    async def to_list(self, length: int | None) -> list[dict[str, Any]]:
        rows = await self._gate.call("find", lambda: self._raw.to_list(length), _outside)
        return list(rows)

    async def __aiter__(self) -> AsyncIterator[dict[str, Any]]:
        for row in await self.to_list(None):
            yield row


def _gated(gate: Gate, name: str, work: Callable[..., Awaitable[Any]]) -> Callable[..., Any]:
    async def through(*args: Any, session: GatedSession | None = None, **options: Any) -> Any:
        if session is None:
            return await gate.call(name, lambda: work(*args, **options), _outside)
        raw = session.raw
        return await gate.call(name, lambda: work(*args, session=raw, **options), _inside)

    return through
