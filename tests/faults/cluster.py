"""Several `serve` processes behind one address, to be killed and started again.

All listen on 127.0.0.1. Nothing here tries anything again: that is for Stripe and for browsers.
"""

import asyncio
import itertools
import json
import os
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Self

from prometheus_client.parser import text_string_to_metric_families
from tornado.httpclient import AsyncHTTPClient, HTTPError, HTTPResponse

from datalayer_stripe.sandbox import Sandbox
from tests.support.app import JWT_SECRET, WEBHOOK_SECRET
from tests.support.mongod import _EXEC, free_port
from tests.support.shop import Shop

COMMAND = Path(sys.executable).with_name("datalayer-stripe")

# For a loaded machine: what is waited for ends long before, or never.
PATIENCE = 60.0

# The periodic reconciliation heals what a delivery has lost, and would hide it here.
_NO_RECONCILIATION = "0"


def environment(mongodb_url: str, sandbox: Sandbox, shop: Shop) -> dict[str, str]:
    """All that `serve` needs, and nothing else of ours."""
    inherited = {name: value for name, value in os.environ.items() if "DATALAYER" not in name}
    return {
        **inherited,
        "DATALAYER_STRIPE_API_KEY": sandbox.secret_key,
        "DATALAYER_STRIPE_JS_API_KEY": sandbox.publishable_key,
        "DATALAYER_STRIPE_TOPUP_PRODUCT_ID": shop.topup_product,
        "DATALAYER_STRIPE_SUBSCRIPTION_PRODUCT_ID": shop.plan_product,
        "DATALAYER_STRIPE_WEBHOOK_SECRET": WEBHOOK_SECRET,
        "DATALAYER_STRIPE_CUST_PORTAL_ID": "bpc_tests",
        "DATALAYER_STRIPE_CUST_PORTAL_URL": "https://billing.example.com/p/login/test",
        "DATALAYER_STRIPE_MONGODB_URL": mongodb_url,
        "DATALAYER_STRIPE_RECONCILE_INTERVAL": _NO_RECONCILIATION,
        "DATALAYER_STRIPE_API_BASE": sandbox.url,
        "DATALAYER_JWT_SECRET": JWT_SECRET,
    }


async def until(condition: Callable[[], Awaitable[bool]], complaint: str) -> None:
    """Wait for a condition. Raises AssertionError when it does not come."""
    try:
        async with asyncio.timeout(PATIENCE):
            while not await condition():  # noqa: ASYNC110 (it is in other processes)
                await asyncio.sleep(0.02)
    except TimeoutError:
        raise AssertionError(complaint) from None


class Served:
    """One `serve` process; `start` again after `kill` keeps its port and goes on with its log."""

    def __init__(self, variables: dict[str, str], log_path: Path) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.log_path = log_path
        self._variables = variables
        self._process: asyncio.subprocess.Process | None = None
        self._http = AsyncHTTPClient(force_instance=True)

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.returncode is None

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    async def start(self) -> None:
        """Start the process, without waiting until it listens."""
        assert not self.running
        command = (COMMAND, "serve", "--port", str(self.port))
        with self.log_path.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                # Ended by the kernel when the test process dies, however it dies.
                *(sys.executable, "-c", _EXEC, *map(str, command)),
                env=self._variables,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.DEVNULL,
                stderr=log,
            )

    async def listening(self) -> None:
        """Wait until it answers."""

        async def answers() -> bool:
            assert self.running, f"serve ended by itself: {self.log()[-3:]}"
            return await self.status("/healthz") == 200

        await until(answers, "serve does not listen")

    async def kill(self) -> None:
        """End it as a crash does (SIGKILL)."""
        if self._process is not None and self.running:
            self._process.kill()
            await self._process.wait()

    async def close(self) -> None:
        await self.kill()
        self._http.close()

    async def get(self, path: str) -> HTTPResponse:
        """GET; errors are answers too."""
        return await self._http.fetch(self.url + path, raise_error=False, request_timeout=30)

    async def status(self, path: str) -> int | None:
        """The status of a GET; None where there is no answer at all."""
        try:
            return (await self.get(path)).code
        except (OSError, HTTPError):
            return None

    async def metric(self, name: str, **labels: str) -> float:
        """The sum of a metric's samples that have these labels."""
        text = (await self.get("/metrics")).body.decode()
        return sum(
            sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
            if sample.name == name and labels.items() <= sample.labels.items()
        )

    def log(self) -> list[dict[str, Any]]:
        """Its log, of all its lives; the line that a kill has cut is left out."""
        lines = self.log_path.read_text(errors="replace").splitlines()
        return [json.loads(line) for line in lines if line.startswith("{") and line.endswith("}")]


class RoundRobin:
    """Gives each new connection to the next port, and closes it when nobody listens there."""

    def __init__(self, ports: Sequence[int]) -> None:
        self._ports = itertools.cycle(ports)
        self._server: asyncio.Server | None = None
        self._connections: set[asyncio.Task[None]] = set()

    @property
    def url(self) -> str:
        assert self._server is not None
        return f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    async def start(self) -> Self:
        self._server = await asyncio.start_server(self._connected, "127.0.0.1", 0)
        return self

    async def stop(self) -> None:
        assert self._server is not None
        self._server.close()
        for connection in set(self._connections):
            connection.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)

    def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(self._relay(reader, writer, next(self._ports)))
        self._connections.add(task)
        task.add_done_callback(self._connections.discard)

    async def _relay(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, port: int
    ) -> None:
        ends = [writer]
        try:
            answers, asks = await asyncio.open_connection("127.0.0.1", port)
            ends.append(asks)
            both = [
                asyncio.create_task(_pump(*pair)) for pair in ((reader, asks), (answers, writer))
            ]
            try:
                # HTTP has no half-open connections: the first end ends both.
                await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for one in both:
                    one.cancel()
                await asyncio.gather(*both, return_exceptions=True)
        except OSError:
            pass  # nobody listens; the client sees its connection closed
        finally:
            for end in ends:
                end.close()
            await asyncio.gather(*(end.wait_closed() for end in ends), return_exceptions=True)


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while piece := await reader.read(65536):
        writer.write(piece)
        await writer.drain()


class Cluster:
    """Service processes and the address in front of them."""

    def __init__(self, services: Sequence[Served], front: RoundRobin) -> None:
        self.services = services
        self.front = front

    @property
    def url(self) -> str:
        return self.front.url

    async def metric(self, name: str, **labels: str) -> float:
        """A metric of all processes together, since each one's latest start."""
        values = [await served.metric(name, **labels) for served in self.services]
        return sum(values)

    async def until_ready(self, code: int = 200) -> None:
        """Wait until every process says so."""

        async def said() -> bool:
            codes = await asyncio.gather(*(one.status("/readyz") for one in self.services))
            return set(codes) == {code}

        await until(said, f"/readyz does not say {code} everywhere")

    def surprises(self) -> list[dict[str, Any]]:
        """What the processes have logged and never should: errors that nobody foresaw."""
        return [line for one in self.services for line in one.log() if "exception" in line]


@asynccontextmanager
async def cluster(variables: dict[str, str], folder: Path, size: int = 2) -> AsyncIterator[Cluster]:
    """Run `serve` processes that answer, and the round-robin in front of them."""
    services = [Served(variables, folder / f"serve{number}.log") for number in range(size)]
    front = await RoundRobin([one.port for one in services]).start()
    try:
        for one in services:
            await one.start()
        for one in services:
            await one.listening()
        yield Cluster(services, front)
    finally:
        await front.stop()
        for one in services:
            await one.close()
