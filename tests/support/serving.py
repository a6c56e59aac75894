"""Run the command `serve` in a process, and read its log."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, cast

import pytest

from datalayer_stripe.sandbox.api.handler import ApiHandler
from datalayer_stripe.service import Service
from tests.support.app import Api
from tests.support.command import COMMAND

Line = dict[str, Any]


class HeldStripe:
    """Holds the requests to the API of the local Stripe until the test releases them.

    Attributes:
        released: Set it to let the requests continue.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.released = asyncio.Event()
        prepare = ApiHandler.prepare

        async def hold(handler: ApiHandler) -> None:
            prepare(handler)
            await self.released.wait()

        monkeypatch.setattr(ApiHandler, "prepare", hold)


@dataclass
class Serving:
    """A running `serve`. Its log is read all the time, so that it never blocks the process."""

    process: asyncio.subprocess.Process
    bearer: Callable[..., str]
    lines: list[Line] = field(default_factory=list)
    api: Api = field(init=False)

    def __post_init__(self) -> None:
        self._read = asyncio.Condition()
        self._reader = asyncio.create_task(self._read_lines())

    async def _read_lines(self) -> None:
        assert self.process.stderr is not None
        async for line in self.process.stderr:
            async with self._read:
                text = line.decode()
                self.lines.append(json.loads(text) if text[:1] == "{" else {"message": text})
                self._read.notify_all()
        async with self._read:
            self._read.notify_all()

    async def line(self, message: str, *, after: int = 0, **fields: Any) -> Line:
        """Wait for the first line with this message and these fields.

        Args:
            message: The message.
            after: How many lines to skip.
            fields: Values of further fields.
        """
        async with self._read:
            while True:
                for line in self.lines[after:]:
                    if line["message"] == message and fields.items() <= line.items():
                        return line
                assert not self._reader.done(), f"serve ended without {message!r}: {self.lines}"
                await self._read.wait()

    async def wait(self) -> int:
        """Wait until the process ends, and return its exit code."""
        await self._reader
        return await self.process.wait()


@asynccontextmanager
async def serve(
    variables: dict[str, str],
    bearer: Callable[..., str],
    *arguments: str,
    command: Sequence[str] = (str(COMMAND), "serve"),
) -> AsyncIterator[Serving]:
    """Run `serve` on a free port, wait until it listens, and kill it at the end.

    Args:
        variables: The environment.
        bearer: Creates tokens for the client.
        *arguments: Further options of `serve`.
        command: The command line that runs `serve`.
    """
    process = await asyncio.create_subprocess_exec(
        *(*command, "--port", "0", *arguments),
        env=variables,
        stderr=asyncio.subprocess.PIPE,
        process_group=0,  # so that a test can signal it as a terminal does
    )
    serving = Serving(process, bearer)
    try:
        listening = await serving.line("listening")
        port = int(listening["url"].rsplit(":", 1)[1])
        no_service = cast("Service", SimpleNamespace())  # the service is in the other process
        serving.api = Api(port, no_service, bearer)
        yield serving
        serving.api.http.close()
    finally:
        if process.returncode is None:
            process.kill()
        await serving.wait()
