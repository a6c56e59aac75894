"""Replace the MongoDB driver and the transport of Stripe's SDK by ones that inject faults.

So the whole service runs unchanged. Errors are the driver's own, with the labels that the driver
sets: see "Transactions" and "Retryable Writes" in https://github.com/mongodb/specifications.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Mapping
from functools import partial
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import stripe
from pymongo.errors import AutoReconnect, NetworkTimeout, PyMongoError, ServerSelectionTimeoutError

from datalayer_stripe.store import driver
from datalayer_stripe.testing.faults import CallGate, FaultInjector, When

# After up to a minute the server itself ends a transaction that its client has abandoned. Here the
# test ends it after this time, in seconds.
_ABANDONED_SECONDS = 0.02


class DriverGate(CallGate):
    """The gate of a process that uses the MongoDB driver.

    Attributes:
        sessions: The open MongoDB sessions.
        abandoned: The tasks that end abandoned transactions.
    """

    def __init__(
        self,
        injector: FaultInjector,
        *,
        on_cancel: Callable[[], None],
        on_crash: Callable[[], None],
    ) -> None:
        # The calls at the start of a process do not fail.
        super().__init__(injector, enabled=False, on_cancel=on_cancel, on_crash=on_crash)
        self.sessions: set[GatedSession] = set()
        self.abandoned: set[asyncio.Task[None]] = set()

    def abandon(self, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """End an abandoned transaction a little later, as the server does."""

        async def end() -> None:
            await asyncio.sleep(_ABANDONED_SECONDS)
            await work()

        task = asyncio.create_task(end())
        self.abandoned.add(task)
        task.add_done_callback(self.abandoned.discard)


class GatedHTTPClient(stripe.AIOHTTPClient):
    """The transport of Stripe's SDK. The SDK retries calls that got no answer."""

    def __init__(self, gate: DriverGate, timeout: Any) -> None:
        # Without TLS: each new process would read the certificates of the machine, which is slow.
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
            lambda _: stripe.APIConnectionError("injected fault", should_retry=True),
        )

    def sleep_async(self, _: float) -> Any:
        return asyncio.sleep(0)  # instead of the SDK's backoff


def _outside(when: When) -> PyMongoError:
    """Return the error outside of a transaction, after the driver's own retry failed, too."""
    if when == "before":
        return ServerSelectionTimeoutError("no server")
    return NetworkTimeout("no answer")


def _inside(when: When) -> PyMongoError:
    """Return the error inside of a transaction, which can be retried as a whole."""
    return AutoReconnect(f"injected fault, {when}", {"errorLabels": ["TransientTransactionError"]})


def _at_commit(when: When) -> PyMongoError:
    """Return the error of a commit, whose result is unknown."""
    return AutoReconnect(
        f"injected fault, {when}", {"errorLabels": ["UnknownTransactionCommitResult"]}
    )


class GatedClient:
    """Proxy of a client of either driver, as far as the store uses it."""

    def __init__(self, gate: DriverGate, client_class: Any, *args: Any, **options: Any) -> None:
        self._gate = gate
        self._raw = client_class(*args, **options)

    @property
    def admin(self) -> "GatedDatabase":
        return self["admin"]

    def __getitem__(self, name: str) -> "GatedDatabase":
        return GatedDatabase(self._gate, self._raw[name])

    async def start_session(self) -> "GatedSession":
        work = partial(driver.start_session, self._raw)
        raw = await self._gate.call("start_session", work, _outside)
        return GatedSession(self._gate, raw)

    async def close(self) -> None:
        await driver.close(self._raw)


class GatedSession:
    """Proxy of a MongoDB session. If it is interrupted, the server ends its transaction."""

    def __init__(self, gate: DriverGate, raw: Any) -> None:
        self._gate = gate
        self.raw = raw
        gate.sessions.add(self)

    async def start_transaction(self, **options: Any) -> None:
        # Not a call: the first operation starts it on the server.
        await driver.start_transaction(self.raw, **options)

    async def commit_transaction(self) -> None:
        await self._gate.call("commit", self.raw.commit_transaction, _at_commit)

    async def abort_transaction(self) -> None:
        # The driver hides the error of an abort.
        await self._gate.call("abort", self.raw.abort_transaction, lambda _: None)

    async def end_session(self) -> None:
        if self._gate.dead:
            return  # `Process.stop` ends it, as the server does
        self._gate.sessions.discard(self)
        if self.raw.in_transaction:
            self._gate.abandon(self.raw.end_session)
        else:
            await self.raw.end_session()


class GatedDatabase:
    """Proxy of a database."""

    def __init__(self, gate: DriverGate, raw: Any) -> None:
        self._gate = gate
        self._raw = raw

    def __getitem__(self, name: str) -> "GatedCollection":
        return GatedCollection(self._gate, self._raw[name])

    def with_options(self, **options: Any) -> "GatedDatabase":
        return GatedDatabase(self._gate, self._raw.with_options(**options))

    def __getattr__(self, name: str) -> Any:
        if name in {"list_collection_names", "create_collection", "drop_collection", "command"}:
            return _gated_call(self._gate, name, getattr(self._raw, name))
        return self[name]


class GatedCollection:
    """Proxy of a collection."""

    def __init__(self, gate: DriverGate, raw: Any) -> None:
        self._gate = gate
        self._raw = raw

    async def aggregate(self, stages: list[dict[str, Any]], **options: Any) -> "GatedRows":
        work = partial(driver.aggregate, self._raw, stages, **options)
        return GatedRows(await self._gate.call("aggregate", work, _outside))

    def __getattr__(self, name: str) -> Any:
        work = getattr(self._raw, name)
        if name == "find":
            return lambda *args, **options: GatedCursor(self._gate, work(*args, **options))
        return _gated_call(self._gate, name, work)


class GatedCursor:
    """Proxy of a cursor. All its rows are read in one call, because they are few."""

    def __init__(self, gate: DriverGate, raw: Any) -> None:
        self._gate = gate
        self._raw = raw

    def sort(self, *args: Any) -> "GatedCursor":
        return GatedCursor(self._gate, self._raw.sort(*args))

    def limit(self, number: int) -> "GatedCursor":
        return GatedCursor(self._gate, self._raw.limit(number))

    async def to_list(self, length: int | None) -> list[dict[str, Any]]:
        rows = await self._gate.call("find", lambda: self._raw.to_list(length), _outside)
        return list(rows)

    async def __aiter__(self) -> AsyncIterator[dict[str, Any]]:
        for row in await self.to_list(None):
            yield row


class GatedRows:
    """The result of an aggregation, which one call has read."""

    def __init__(self, rows: list[dict[str, Any]]) -> None:
        self._rows = rows

    async def to_list(self, _: int | None) -> list[dict[str, Any]]:
        return self._rows


def _gated_call(
    gate: DriverGate, name: str, work: Callable[..., Awaitable[Any]]
) -> Callable[..., Any]:
    async def call(*args: Any, session: GatedSession | None = None, **options: Any) -> Any:
        if session is None:
            return await gate.call(name, lambda: work(*args, **options), _outside)
        raw = session.raw
        return await gate.call(name, lambda: work(*args, session=raw, **options), _inside)

    return call
