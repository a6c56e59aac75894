"""Run several `serve` processes behind one address, which tests kill and start again.

All listen on 127.0.0.1. Nothing here retries a request: Stripe and browsers do.
"""

import asyncio
import itertools
import json
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Self

from prometheus_client.parser import text_string_to_metric_families
from tornado.httpclient import AsyncHTTPClient, HTTPError, HTTPResponse

from datalayer_stripe.sandbox import Sandbox
from tests.support.command import COMMAND, complete
from tests.support.mongod import _EXEC
from tests.support.ports import free_port
from tests.support.shop import Shop

# Generous, for a loaded machine.
WAIT_TIMEOUT = 120.0  # seconds

# The periodic reconciliation processes lost events, and would hide that they were lost.
_NO_RECONCILIATION = "0"


def environment_variables(mongodb_url: str, sandbox: Sandbox, shop: Shop) -> dict[str, str]:
    """Return the variables that `serve` needs, without other variables of the service."""
    return {
        **complete(mongodb_url, sandbox, shop),
        "DATALAYER_STRIPE_RECONCILE_INTERVAL": _NO_RECONCILIATION,
    }


async def wait_until(condition: Callable[[], Awaitable[bool]], message: str) -> None:
    """Wait for a condition. Raise AssertionError with the message after a timeout."""
    try:
        async with asyncio.timeout(WAIT_TIMEOUT):
            while not await condition():  # noqa: ASYNC110 (other processes set it)
                await asyncio.sleep(0.02)
    except TimeoutError:
        raise AssertionError(message) from None


class ServeProcess:
    """One `serve` process. `start` after `kill` uses the same port and appends to the same log."""

    def __init__(self, variables: dict[str, str], log_path: Path) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.log_path = log_path
        self._variables = variables
        self._process: asyncio.subprocess.Process | None = None
        self._http = AsyncHTTPClient(
            force_instance=True,
            defaults={"connect_timeout": WAIT_TIMEOUT / 2, "request_timeout": WAIT_TIMEOUT / 2},
        )

    @property
    def running(self) -> bool:
        """Whether the process runs."""
        return self._process is not None and self._process.returncode is None

    @property
    def pid(self) -> int:
        """The id of the process."""
        assert self._process is not None
        return self._process.pid

    async def start(self) -> None:
        """Start the process, without waiting until it listens."""
        assert not self.running
        command = (COMMAND, "serve", "--port", str(self.port))
        with self.log_path.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                # The kernel kills it when the test process dies.
                *(sys.executable, "-c", _EXEC, *map(str, command)),
                env=self._variables,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.DEVNULL,
                stderr=log,
            )

    async def wait_until_listening(self) -> None:
        """Wait until it responds."""

        async def responds() -> bool:
            assert self.running, f"serve ended: {self.log()[-3:]}"
            return await self.status("/healthz") == 200

        await wait_until(responds, "serve does not listen")

    async def kill(self) -> None:
        """Kill it with SIGKILL, like a crash."""
        if self._process is not None and self.running:
            self._process.kill()
            await self._process.wait()

    async def close(self) -> None:
        """Kill it, and close the HTTP client."""
        await self.kill()
        self._http.close()

    async def get(self, path: str) -> HTTPResponse:
        """Send a GET request, and return the response, also one with an error status."""
        return await self._http.fetch(self.url + path, raise_error=False)

    async def status(self, path: str) -> int | None:
        """Return the status of a GET request; None if there is no response."""
        try:
            return (await self.get(path)).code
        except (OSError, HTTPError):
            return None

    async def metric(self, name: str, **labels: str) -> float:
        """Return the sum of a metric's samples that have these labels."""
        text = (await self.get("/metrics")).body.decode()
        return sum(
            sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
            if sample.name == name and labels.items() <= sample.labels.items()
        )

    def log(self) -> list[dict[str, Any]]:
        """Return its log since the first start, without lines that a kill has truncated."""
        lines = self.log_path.read_text(errors="replace").splitlines()
        return [json.loads(line) for line in lines if line.startswith("{") and line.endswith("}")]


class RoundRobin:
    """Relays each new connection to the next port, or closes it if no process listens there."""

    def __init__(self, ports: Sequence[int]) -> None:
        self._ports = itertools.cycle(ports)
        self._server: asyncio.Server | None = None
        self._connections: set[asyncio.Task[None]] = set()

    @property
    def url(self) -> str:
        """The URL of the address."""
        assert self._server is not None
        return f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    async def start(self) -> Self:
        """Start to listen on a free port."""
        self._server = await asyncio.start_server(self._connected, "127.0.0.1", 0)
        return self

    async def stop(self) -> None:
        """Stop listening, and close all connections."""
        assert self._server is not None
        self._server.close()
        for connection in set(self._connections):
            connection.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)

    def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(self._relay_connection(reader, writer, next(self._ports)))
        self._connections.add(task)
        task.add_done_callback(self._connections.discard)

    async def _relay_connection(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, port: int
    ) -> None:
        writers = [writer]
        try:
            upstream_reader, upstream_writer = await asyncio.open_connection("127.0.0.1", port)
            writers.append(upstream_writer)
            relays = [
                asyncio.create_task(_copy(*pair))
                for pair in ((reader, upstream_writer), (upstream_reader, writer))
            ]
            try:
                # HTTP has no half-open connections: if one side closes, close both.
                await asyncio.wait(relays, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for one in relays:
                    one.cancel()
                await asyncio.gather(*relays, return_exceptions=True)
        except OSError:
            pass  # no process listens; the client's connection is closed
        finally:
            for end in writers:
                end.close()
            await asyncio.gather(*(end.wait_closed() for end in writers), return_exceptions=True)


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()


class Cluster:
    """Service processes and the address in front of them."""

    def __init__(self, services: Sequence[ServeProcess], front: RoundRobin) -> None:
        self.services = services
        self.front = front

    @property
    def url(self) -> str:
        """The URL of the address in front."""
        return self.front.url

    async def metric(self, name: str, **labels: str) -> float:
        """Return the sum of a metric over all processes, since the last start of each."""
        values = [await served.metric(name, **labels) for served in self.services]
        return sum(values)

    async def wait_until_ready(self, code: int = 200) -> None:
        """Wait until every process answers `/readyz` with this status."""

        async def all_answer() -> bool:
            codes = await asyncio.gather(*(one.status("/readyz") for one in self.services))
            return set(codes) == {code}

        await wait_until(all_answer, f"/readyz does not answer {code} in all processes")

    async def wait_until_delivery_failed(self) -> None:
        """Wait until a delivery has failed since the last start of any process."""

        async def any_failed() -> bool:
            return await self.metric("datalayer_stripe_deliveries_total", outcome="failed") > 0

        await wait_until(any_failed, "no delivery has failed")

    def unexpected_errors(self) -> list[dict[str, Any]]:
        """Return the log lines of unexpected exceptions."""
        return [line for one in self.services for line in one.log() if "exception" in line]


@asynccontextmanager
async def cluster(variables: dict[str, str], folder: Path, size: int = 2) -> AsyncIterator[Cluster]:
    """Run `serve` processes and the round-robin in front of them, and wait until they listen."""
    services = [ServeProcess(variables, folder / f"serve{number}.log") for number in range(size)]
    front = await RoundRobin([one.port for one in services]).start()
    try:
        for one in services:
            await one.start()
        for one in services:
            await one.wait_until_listening()
        yield Cluster(services, front)
    finally:
        await front.stop()
        for one in services:
            await one.close()
