"""A process of the service, which can be cut at any call and die at any call."""

import asyncio
from collections.abc import Awaitable
from functools import partial
from typing import Any
from unittest.mock import patch

from datalayer_stripe.clock import Clock
from datalayer_stripe.plugin_api.registry import Registry
from datalayer_stripe.service import Service, open_service
from datalayer_stripe.settings import Settings
from tests.faults.boundary import GatedClient, GatedHTTPClient
from tests.faults.injection import Faults, Gate


class Process:
    """Use :meth:`start`. Several live in one event loop and share nothing but it."""

    service: Service

    def __init__(self, faults: Faults) -> None:
        self.gate = Gate(faults, on_cancel=self._cancel, on_crash=self._crash)
        self._tasks: set[asyncio.Task[Any]] = set()

    @classmethod
    async def start(
        cls, settings: Settings, registry: Registry, clock: Clock, faults: Faults
    ) -> "Process":
        process = cls(faults)
        driver = partial(GatedClient, process.gate)
        transport = partial(GatedHTTPClient, process.gate)
        with (
            patch("datalayer_stripe.store.connect.AsyncIOMotorClient", driver),
            patch("datalayer_stripe.store.connect.PluginMotorClient", driver),
            patch("stripe.AIOHTTPClient", transport),
        ):
            process.service = await open_service(settings, registry=registry, clock=clock)
        process.gate.started = True
        return process

    @property
    def dead(self) -> bool:
        return self.gate.dead

    async def do(self, work: Awaitable[Any]) -> asyncio.Task[Any]:
        """Do something in this process, and return when it has ended, however that was."""
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        await asyncio.wait({task})
        self._tasks.discard(task)
        return task

    async def settle(self) -> None:
        """Return when nothing is under way any more, in the process or for it at the server."""
        while busy := self._busy():
            await asyncio.wait(busy)

    async def stop(self) -> None:
        await self.settle()
        # The server ends what a dead process has left open.
        for session in self.gate.sessions:
            await session.raw.end_session()
        await self.service.close()

    def _cancel(self) -> None:
        for task in self._tasks | self._working():
            task.cancel()

    def _crash(self) -> None:
        self.gate.dead = True
        self._cancel()

    def _busy(self) -> set[asyncio.Task[Any]]:
        committer = self.service.store._committer
        return self._tasks | self._working() | committer.under_way | self.gate.abandoned

    def _working(self) -> set[asyncio.Task[Any]]:
        return self.service.deliveries._in_flight | self.service.worker._jobs
